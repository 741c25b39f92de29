"""Fixtures of this room."""

from helpers.networks import deep  # noqa: F401
