"""A model on a server: TF Serving's protocol over gRPC and REST, and photos segmented by it."""
