"""All that knows Ray: searcher, trainables, placement, sessions; it imports `trial` and below.

Begin with `searcher.py` and `trainable.py`.
"""
