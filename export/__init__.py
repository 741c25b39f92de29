"""Trained networks as files that run without this project: SavedModel with signatures."""
