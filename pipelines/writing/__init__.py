"""How what a source lists becomes records: `listed.write_listed`, which every builder ends in,
the flags for it, and the writer on many machines.

What a record is, and how it is written on one machine, is in `crnet_tf.data`.
"""
