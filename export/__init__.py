"""Trained networks as files that run without this project, and those who serve and ask them.

The commands stand here; what they share is in the rooms.
"""
