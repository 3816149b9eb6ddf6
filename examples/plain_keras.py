"""A plain Keras program, like a server with two clients; it sets no thread counts.

It prints the seconds that its requests take. Two clients share the CPUs, so there is less to be won
by threads inside of an operation than TensorFlow's default supposes.

Tune it with: kamerton-ray exec --objective last -- python examples/plain_keras.py
"""

import time
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

CLIENTS, REQUESTS = 2, 1500

layers = [tf.keras.layers.Dense(256, activation="relu") for _ in range(6)]
predict = tf.function(tf.keras.Sequential([tf.keras.Input((256,)), *layers]))
batch = tf.random.uniform((64, 256))
predict(batch)


def client(_):
    """One request after the other, each as soon as the last one is answered."""
    for _ in range(REQUESTS):
        predict(batch)


start = time.perf_counter()
with ThreadPoolExecutor(CLIENTS) as clients:
    list(clients.map(client, range(CLIENTS)))
print(time.perf_counter() - start)
