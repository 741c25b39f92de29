"""Builders: photos and label maps of a data set -> class-sharded TFRecords; and checks of what
was built.

The commands stand here; what they share is in the rooms, and in `crnet_tf.data.writing`.
"""
