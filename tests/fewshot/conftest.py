"""Fixtures of this room."""

from helpers.networks import encoded  # noqa: F401
