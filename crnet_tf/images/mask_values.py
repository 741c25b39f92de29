"""What the values of masks and label maps mean, everywhere in this project.

A mask is uint8: 0 background, 1 foreground, 255 void. Losses, metrics and pooling ignore void:
it is said nothing about. A label map is uint8 as well: 0 background, `label_value(c)` where it
shows class c (1..N), 255 void.
"""

BACKGROUND, FOREGROUND, VOID = 0, 1, 255


def label_value(class_id):
    """What label maps say for a class id (int or tensor): 1..254, the id itself up to there.

    Beyond 254 classes values repeat: no photo may show two classes of one value.
    """
    return (class_id - 1) % (VOID - 1) + 1
