"""What a published data set, or a folder of one's own, has on disk, and which photos go to
which split."""
