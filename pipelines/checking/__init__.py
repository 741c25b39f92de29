"""Records that are there: counted, opened, compared between splits."""
