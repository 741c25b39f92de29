"""Fixtures of this room."""

from helpers.images import save  # noqa: F401
