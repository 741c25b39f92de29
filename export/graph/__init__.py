"""What is exported: tensors in, tensors out, as functions that a SavedModel takes along.

No file is written here.
"""
