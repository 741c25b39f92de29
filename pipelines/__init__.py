"""The commands that make data sets and check them: archives -> photos and label maps ->
TFRecords, a stream a class.

Commands stand here and are thin; `sources` lists what is on disk, `writing` makes records of
it, `checking` looks at records, `downloading` brings archives.
"""
