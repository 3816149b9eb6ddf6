"""MobileNetV2 inference, to be tuned from the command line; `make demo` does that.

Tune it with: kamerton-ray tune examples/mobilenet.py:build
"""

BATCH, SIZE = 8, 96


def build():
    """Called in each trial's process, after its threads are set: the model, and one step of it.

    The weights are random, so it needs no network.
    """
    import tensorflow as tf

    model = tf.keras.applications.MobileNetV2((SIZE, SIZE, 3), weights=None)
    predict = tf.function(model)
    images = tf.random.uniform((BATCH, SIZE, SIZE, 3))
    return lambda: predict(images)
