"""A thing searched in any number of photos: which (`photos.py`), a piece of them answered into
one file (`shards.py`), and all pieces, by one process or many (`search.py`).

How a photo is answered is in `crnet_tf.fewshot`.
"""
