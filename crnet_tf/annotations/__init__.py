"""Labels in other tools' formats: read, and written of what was found.

A format is a module with `list_photos` and `read_label`, or with a `Writer`, or with all three.
`listing` is what is read of any format, `answers` what is written, and `writing` chooses.
Nothing in here knows of records: how photos become those is the business of `data.writing`.
"""
