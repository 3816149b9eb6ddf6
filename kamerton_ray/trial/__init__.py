"""What one trial measures, and what it reports; it imports `search`, `process` and `machine`.

Only Kamerton's loop needs `search`. Nothing in here knows Ray. Begin with `bench.py`.
"""
