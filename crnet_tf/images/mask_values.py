"""What the values of masks and label maps mean, in the whole project; void is decided here.

A mask is uint8: 0 background, 1 foreground, 255 void. Losses, metrics and pooling ignore void:
it is said nothing about. A label map is uint8 as well: 0 background, `label_value(c)` where it
shows class c (1..N), 255 void.
"""

import numpy as np

BACKGROUND, FOREGROUND, VOID = 0, 1, 255
MASK_VALUES = frozenset((BACKGROUND, FOREGROUND, VOID))


def label_value(class_id):
    """What label maps say for a class id (int or tensor): 1..254, the id itself up to there.

    Beyond 254 classes values repeat: no photo may show two classes of one value.
    """
    return (class_id - 1) % (VOID - 1) + 1


def class_mask(label, value, where=np.where):
    """The mask of one class of a label map: uint8 of the same shape.

    Args:
        label: uint8, of any shape: an array or a tensor.
        value: `label_value` of the class, a number or of the label's kind and type.
        where: of the library whose array `label` is: np.where, tf.where, keras.ops.where.
    """
    background, foreground, void = map(np.uint8, (BACKGROUND, FOREGROUND, VOID))
    return where(label == VOID, void, where(label == value, foreground, background))
