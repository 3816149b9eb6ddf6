"""The command line; it may import every room, and no room imports it.

Begin with `commands.py`.
"""
