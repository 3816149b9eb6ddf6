"""From a search's results to a verdict; it imports `tune` and below.

Begin with `comparing.py` and `verdict.py`.
"""
