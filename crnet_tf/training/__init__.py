"""A training run: optimisers, what happens between epochs, checkpoints, the run's folder,
stored features, and the compiled steps of the JAX side."""
