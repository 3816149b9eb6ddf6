"""Five small models that differ in what threads do for them; each has a pair to compare with."""


def mlp():
    """A small multilayer perceptron."""
    import tensorflow as tf

    dense = tf.keras.layers.Dense
    layers = [tf.keras.Input((256,)), *(dense(256, activation="relu") for _ in range(3)), dense(10)]
    return _step(tf.keras.Sequential(layers), (32, 256))


def mobilenet():
    """MobileNetV2: convolutions, one after the other."""
    import tensorflow as tf

    return _step(tf.keras.applications.MobileNetV2((96, 96, 3), weights=None), (8, 96, 96, 3))


def gru():
    """Two GRU layers: many small operations in sequence."""
    import tensorflow as tf

    layer = tf.keras.layers.GRU
    layers = [tf.keras.Input((40, 64)), layer(128, return_sequences=True), layer(128)]
    return _step(tf.keras.Sequential(layers), (16, 40, 64))


def transformer():
    """Two transformer blocks."""
    import tensorflow as tf

    layers = tf.keras.layers
    inputs = hidden = tf.keras.Input((64, 128))
    for _ in range(2):
        attended = layers.MultiHeadAttention(4, 32)(hidden, hidden)
        hidden = layers.LayerNormalization()(hidden + attended)
        wide = layers.Dense(512, activation="gelu")(hidden)
        hidden = layers.LayerNormalization()(hidden + layers.Dense(128)(wide))
    return _step(tf.keras.Model(inputs, hidden), (8, 64, 128))


def branched():
    """Twelve branches side by side, which inter-op threads can run at once."""
    import tensorflow as tf

    layers = tf.keras.layers
    inputs = tf.keras.Input((256,))
    branches = []
    for _ in range(12):
        hidden = inputs
        for _ in range(3):
            hidden = layers.Dense(256, activation="relu")(hidden)
        branches.append(hidden)
    return _step(tf.keras.Model(inputs, layers.Add()(branches)), (64, 256))


def _step(model, shape):
    import tensorflow as tf

    predict = tf.function(model)
    inputs = tf.random.uniform(shape)
    return lambda: predict(inputs)


MODELS = {
    mlp: (1, 1),
    mobilenet: (1, 1),
    gru: (3, 2),
    transformer: (2, 1),
    branched: (3, 2),
}
