"""Attempts in processes of their own, and every way they fail; it imports `machine`.

Begin with `isolation.py`.
"""
