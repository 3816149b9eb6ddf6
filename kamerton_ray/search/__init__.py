"""The search on an integer lattice, by ask and tell; it imports no other room, and only numpy.

It has no clock and no I/O, and knows neither Ray nor TensorFlow. Begin with `nelder_mead.py`.
"""
