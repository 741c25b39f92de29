"""A model on a server: TF Serving's protocol over gRPC and REST, and photos segmented by it.

`python -m export.client` is the command, in `__main__.py`.
"""
