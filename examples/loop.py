"""Kamerton's loop: each attempt runs its body in a process of its own, the last one in this.

Run it by itself, or each attempt as a trial of Ray: kamerton-ray run examples/loop.py
"""

import argparse
import os
import timeit

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from kamerton_ray import kamerton, set_threading

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--attempts", type=int, help="at most so many; without it the search decides")
args = parser.parse_args()

for attempt in kamerton(cb=set_threading, vertex=[4, 4], iterations=args.attempts):
    layers = [tf.keras.layers.Conv2D(16, 3, activation="relu") for _ in range(4)]
    model = tf.keras.Sequential([tf.keras.Input((64, 64, 3)), *layers])
    images = np.random.default_rng(0).random((8, 64, 64, 3), dtype=np.float32)
    model.predict(images, verbose=0)
    print(attempt)  # [intra_op, inter_op]
    print(timeit.timeit(lambda: model.predict(images, verbose=0), number=3))  # noqa: B023 - called here
