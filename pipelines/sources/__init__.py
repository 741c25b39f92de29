"""What a published data set, or a folder of one's own, has on disk: found, listed as
`PhotoFile`s, its labels read; and which photos go to which split.

Nothing here knows of records: `pipelines.writing` makes them of what is listed.
"""
