"""From a search's results to a verdict; it imports `tune` and below.

Begin with `verdict.py`.
"""
