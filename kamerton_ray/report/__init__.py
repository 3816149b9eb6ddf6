"""The answer as pictures, a page, tables and settings to apply; it imports `answer` and below.

Begin with `report.py`.
"""
