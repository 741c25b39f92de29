"""What builders are told of how records are written; known without TensorFlow."""

ON_ERROR = ("stop", "skip")  # at a bad photo
SHARD_MB = 512  # the largest file of a class
