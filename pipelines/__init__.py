"""Commands for very many photos: archives -> photos and label maps -> TFRecords, a stream a
class; and a thing searched in all of them.

Commands stand here and are thin; `sources` lists what is on disk, `writing` makes records of
it, `checking` looks at records, `downloading` brings archives, `finding` searches, and
`workers` are who does such work, here or on other machines.
"""
