"""Noise of rounds of which neighbours are alike."""

import math


def alike(rng, shape, by):
    """Normal values of which neighbours along the first axis correlate by so much."""
    found = rng.standard_normal(shape)
    for number in range(1, len(found)):
        found[number] = by * found[number - 1] + math.sqrt(1 - by**2) * found[number]
    return found
