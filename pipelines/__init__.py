"""Builders: photos and label maps of a data set -> class-sharded TFRecords."""
