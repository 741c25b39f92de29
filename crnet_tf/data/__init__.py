"""From records on disk to episodes: classes and folds, the index, the records, what is drawn
from them, augmentation and resizing, and the square that a photo of any size is framed in.

`writing` makes records, `demo` draws a data set. Nothing in here knows of networks.
"""
