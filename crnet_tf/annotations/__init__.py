"""Labels in other tools' formats: which photos and classes a source lists, and the label map of
each.

A format is a module with `list_photos` and `read_label`; `listing` is what all of them give.
Nothing in here knows of records: how photos become those is the business of `data.writing`.
"""
