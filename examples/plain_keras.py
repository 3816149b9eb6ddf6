"""A plain Keras program that prints the median seconds of a step, and sets no thread counts.

Tune it with: kamerton-ray exec --objective last -- python examples/plain_keras.py
"""

import time

import tensorflow as tf

model = tf.keras.Sequential(
    [tf.keras.Input((64, 64, 3))]
    + [tf.keras.layers.Conv2D(16, 3, activation="relu") for _ in range(4)]
    + [tf.keras.layers.Flatten(), tf.keras.layers.Dense(10)]
)
predict = tf.function(model)
images = tf.random.uniform((8, 64, 64, 3))
predict(images)
seconds = []
for _ in range(50):
    start = time.perf_counter()
    predict(images)
    seconds.append(time.perf_counter() - start)
print(sorted(seconds)[25])
