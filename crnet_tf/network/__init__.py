"""The paper: its layers, the backbones and their weights, the way of an episode through the
parts, the model, its losses and metrics.

Everything that the graph consists of is `keras.ops` and layers: it runs on TensorFlow and on
JAX. How k photos are used, and when to train, is decided above.
"""
