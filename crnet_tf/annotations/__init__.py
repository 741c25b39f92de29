"""Labels in other tools' formats: which photos and classes a source lists, and the label map of
each.

A format is a module with `list_photos` and `read_label`. How the photos become records is the
business of `data.writing`.
"""
