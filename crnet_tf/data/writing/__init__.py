"""Labelled photos -> class-sharded TFRecords, whole or not there, the same bytes for the same
input.

In `crnet_tf` and not in `pipelines`, because `crnet_tf.train` builds the demo set by it.
"""
