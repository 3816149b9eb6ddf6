"""Small models that differ in what threads do for them, in inference and in training."""


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

    inputs = tf.keras.Input((64, 128))
    return _step(tf.keras.Model(inputs, _attended(inputs, blocks=2)), (8, 64, 128))


def bert():
    """An encoder as small as BERT-mini: four transformer blocks, 256 wide, over 128 tokens."""
    import tensorflow as tf

    inputs = tf.keras.Input((128,), dtype="int32")
    embedded = tf.keras.layers.Embedding(30_522, 256)(inputs)
    model = tf.keras.Model(inputs, _attended(embedded, blocks=4))
    return _prediction(model, tf.random.uniform((4, 128), 0, 30_522, tf.int32))


def branched():
    """Twelve branches side by side, which inter-op threads can run at once."""
    return _branches(12)


def branched_16():
    """Sixteen such branches."""
    return _branches(16)


def resnet():
    """ResNet50: large convolutions, one after the other."""
    import tensorflow as tf

    return _step(tf.keras.applications.ResNet50(weights=None), (4, 224, 224, 3))


def densenet():
    """DenseNet121: many small convolutions; a step is long beside what a server does for it."""
    import tensorflow as tf

    return _step(tf.keras.applications.DenseNet121(weights=None), (4, 224, 224, 3))


def inception_v3():
    """InceptionV3: convolutions side by side, with long steps, too."""
    import tensorflow as tf

    return _step(tf.keras.applications.InceptionV3(weights=None), (4, 299, 299, 3))


def lstm():
    """A small LSTM: many tiny operations in sequence."""
    import tensorflow as tf

    layers = [tf.keras.Input((50, 32)), tf.keras.layers.LSTM(64), tf.keras.layers.Dense(1)]
    return _step(tf.keras.Sequential(layers), (8, 50, 32))


def wide():
    """Four wide dense layers: each step reads 64 MB of weights, which no cache holds."""
    import tensorflow as tf

    dense = tf.keras.layers.Dense
    layers = [tf.keras.Input((2048,)), *(dense(2048, activation="relu") for _ in range(4))]
    return _step(tf.keras.Sequential(layers), (8, 2048))


def inception():
    """Three blocks of four convolutions side by side."""
    import tensorflow as tf

    layers = tf.keras.layers
    inputs = hidden = tf.keras.Input((32, 32, 32))
    for _ in range(3):
        sides = [layers.Conv2D(16, k, padding="same", activation="relu") for k in (1, 3, 5)]
        pooled = layers.Conv2D(16, 1)(layers.MaxPooling2D(3, 1, padding="same")(hidden))
        hidden = layers.Concatenate()([*(side(hidden) for side in sides), pooled])
    return _step(tf.keras.Model(inputs, hidden), (4, 32, 32, 32))


def recommender():
    """Twenty embeddings looked up side by side, then two dense layers."""
    import tensorflow as tf

    layers = tf.keras.layers
    inputs = tf.keras.Input((20,), dtype="int32")
    found = [layers.Embedding(10_000, 32)(inputs[:, i]) for i in range(20)]
    hidden = layers.Dense(256, activation="relu")(layers.Concatenate()(found))
    model = tf.keras.Model(inputs, layers.Dense(1)(hidden))
    return _prediction(model, tf.random.uniform((512, 20), 0, 10_000, tf.int32))


def lstm_training():
    """A training step of an LSTM."""
    import tensorflow as tf

    layers = tf.keras.layers
    model = tf.keras.Sequential([tf.keras.Input((20, 32)), layers.LSTM(64), layers.Dense(1)])
    return _training_step(model, (32, 20, 32))


def convolution_training():
    """A training step of a small convolutional network."""
    import tensorflow as tf

    layers = tf.keras.layers
    convolutions = [layers.Conv2D(n, 3, 2, activation="relu") for n in (16, 32, 64)]
    head = [layers.GlobalAveragePooling2D(), layers.Dense(1)]
    model = tf.keras.Sequential([tf.keras.Input((48, 48, 3)), *convolutions, *head])
    return _training_step(model, (16, 48, 48, 3))


def _attended(hidden, *, blocks):
    """So many transformer blocks with four heads."""
    import tensorflow as tf

    layers, width = tf.keras.layers, hidden.shape[-1]
    for _ in range(blocks):
        attended = layers.MultiHeadAttention(4, width // 4)(hidden, hidden)
        hidden = layers.LayerNormalization()(hidden + attended)
        broad = layers.Dense(4 * width, activation="gelu")(hidden)
        hidden = layers.LayerNormalization()(hidden + layers.Dense(width)(broad))
    return hidden


def _branches(count):
    """So many branches of three dense layers, side by side."""
    import tensorflow as tf

    layers = tf.keras.layers
    inputs = tf.keras.Input((256,))
    branches = []
    for _ in range(count):
        hidden = inputs
        for _ in range(3):
            hidden = layers.Dense(256, activation="relu")(hidden)
        branches.append(hidden)
    return _step(tf.keras.Model(inputs, layers.Add()(branches)), (64, 256))


def _training_step(model, shape):
    import tensorflow as tf

    optimizer = tf.keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    inputs, targets = tf.random.uniform(shape), tf.random.uniform((shape[0], 1))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(inputs, training=True) - targets) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return step


def _step(model, shape):
    import tensorflow as tf

    return _prediction(model, tf.random.uniform(shape))


def _prediction(model, inputs):
    import tensorflow as tf

    predict = tf.function(model)
    return lambda: predict(inputs)


# What `noise.py` measures, and with which threads.
MODELS = {
    mlp: (1, 1),
    mobilenet: (1, 1),
    gru: (3, 2),
    transformer: (2, 1),
    branched: (3, 2),
}

# Whose whole grids `record.py` measures.
RECORDED = [*MODELS, inception, recommender, lstm_training, convolution_training]

# What `instances.py` measures, unless it is told otherwise.
SERVED = [mobilenet, bert, branched_16, resnet, lstm, wide]
