"""Records that are there: counted (`audit`), opened one by one, compared between splits.

Reads records only; nothing here changes them.
"""
