"""What has nothing to do with segmentation: the start of every command, flags made of
dataclasses, files that are whole or not there, locks, threads, progress, and where a result
comes from.

Nothing in here knows of photos, masks or networks.
"""
