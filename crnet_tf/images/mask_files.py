"""Files of masks, in every spelling that users and tools have -> arrays of 0, 1 and 255.

Colours decide, whatever numbers a palette gives them; what they do not decide is refused.
"""

import numpy as np
from absl import flags
from PIL import Image, ImageColor

from crnet_tf.common.errors import InputError
from crnet_tf.images import label_files
from crnet_tf.images.label_pictures import (
    LabelPicture,
    colour_keys,
    colours_of,
    colours_of_keys,
    near,
    read_picture,
)
from crnet_tf.images.mask_values import FOREGROUND, MASK_VALUES, VOID, class_mask
from crnet_tf.images.opening import JPEGS, PathLike

HALF_WHITE = 128
FLAG = "--foreground_colour"
_SAME = 16  # channels of one colour differ by less
_DARK, _BRIGHT = 15, 240  # grey values from there on are next to black and white
_SOFT_DARK, _SOFT_BRIGHT, _SOFT_SHARE = 63, 192, 0.75
_COLOURLESS = 32  # channels of a grey pixel differ by no more, where a file is not exact


def read_mask(
    path: PathLike,
    class_id: int | None = None,
    photo: PathLike | None = None,
    colour: tuple[int, int, int] | None = None,
    soft: bool = False,
) -> np.ndarray:
    """A support mask from a file: uint8 [H,W], 0 background, 1 foreground, 255 void.

    Without `class_id` and `colour` the file holds 0/1 (255 is void), 0/255 (255 is
    foreground), black and white in colours or in a palette of any order, or a shape of one
    colour, the rest being transparent.

    Args:
        class_id: take this class of a label map, such as PASCAL VOC's (255 is void).
        photo: whose mask it is: the two must be turned alike (`orientation.check_alike`).
        colour: RGB that is foreground; all else is background.
        soft: greys between black and white are taken too, if they are few, foreground from
            half of white on, as FSS-1000's are meant; also of a lossy file.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is no mask, has other values or colours, lacks the class or colour, or
            says one thing by its colours and another one by its transparency.
    """
    if class_id is not None and colour is not None:
        raise InputError(
            f"{path}: expected a class or a colour to take, received class {class_id} and "
            f"{colour}. Leave --class_id or {FLAG} out."
        )
    if class_id is not None:
        return _of_class(label_files.read_label(path, photo), class_id, path)
    picture = read_picture(path, photo)
    if colour is not None:
        return _of_colour(picture, colour, path)
    drawn = _black_and_white(picture)
    if drawn is None and soft:
        drawn = _softly(picture)
    if picture.visible is not None:
        return _where_visible(picture, drawn, path)
    if drawn is None:
        raise _not_black_and_white(picture, path)
    if not soft:
        label_files.check_lossless(picture, path)
    return drawn


def parsed_colour(text: str | None) -> tuple[int, int, int] | None:
    """(R, G, B) of `R,G,B`, `#rrggbb` or a colour's name, as people type it; None of nothing.

    Raises:
        InputError: it is none of these.
    """
    if not text:
        return None
    try:
        plain = text.strip().removeprefix("(").removesuffix(")")
        return ImageColor.getrgb(f"rgb({plain})" if "," in plain else plain)[:3]
    except ValueError as error:
        raise InputError(
            f"{FLAG}: expected a colour such as 255,0,0 or #ff0000 or red, received {text!r}."
        ) from error


def define_colour_flag() -> None:
    """The flag of commands that read masks."""
    flags.DEFINE_string(
        FLAG[2:], None, "Colour of the object in masks of two colours: 255,0,0 or #ff0000."
    )


def check_foreground(mask: np.ndarray, name: PathLike) -> None:
    """Raises ValueError for a mask without foreground, which is 1."""
    if not np.any(mask == FOREGROUND):
        raise InputError(
            f"{name}: expected a mask with some foreground, received an empty one. Mark the "
            "object in it, or leave it out."
        )


def shown_values(values: np.ndarray) -> str:
    """The first ten of a mask's values, for an error."""
    return f"{', '.join(map(str, values[:10]))}{' ...' if len(values) > 10 else ''}"


def _of_class(label, class_id, path):
    values = np.flatnonzero(label_files.value_counts(label))
    if class_id not in values:
        raise InputError(
            f"{path}: expected a label map that holds class {class_id}, received the ids "
            f"{shown_values(values)}. Give one of them as --class_id, or another label map."
        )
    return class_mask(label, class_id)


def _of_colour(picture, colour, path):
    label_files.check_lossless(picture, path)
    colours = colours_of(picture).astype(int)
    found = (np.abs(colours - colour) < _SAME).all(axis=-1)
    if picture.visible is not None:
        found &= picture.visible
    if not found.any():
        raise InputError(
            f"{path}: expected the colour {colour} of {FLAG}, received "
            f"{_shown_colours(picture)}. Give one of these, or another mask."
        )
    return found.astype(np.uint8)


# === What colours say ===


def _black_and_white(picture: LabelPicture) -> np.ndarray | None:
    """The mask that the colours of a picture draw, or 0, 1 and 255; None where they draw none.

    Pixels that are transparent count as any other.
    """
    if picture.is_coloured:
        return _white_of(picture.pixels)
    values = picture.used()
    if picture.palette is None:
        return _of_greys(picture, values)
    colours = picture.palette[values]
    told_apart = len(np.unique(colours, axis=0)) == len(values)
    if (colours == values[:, None]).all() or not told_apart:
        return _of_greys(picture, values)  # the colours say nothing else
    if (near(colours, 0) | near(colours, 255)).all():
        return near(picture.palette, 255).astype(np.uint8)[picture.pixels]
    return _of_numbers(picture, values) if _numbers_hold(values, colours) else None


def _of_greys(picture, values):
    """A mask of grey values: 0, 1 and 255, or next to black and next to white."""
    if MASK_VALUES.issuperset(values.tolist()):
        return _of_numbers(picture, values)
    if set(values.tolist()) <= {0, picture.white}:
        return (picture.pixels > 0).astype(np.uint8)
    dark, bright = values[values <= _DARK], values[values >= _BRIGHT]
    # Several dark values may be ids, and 255 beside one of them void.
    open_question = len(dark) > 1 or (dark > 0).any() and VOID in bright
    if len(dark) + len(bright) < len(values) or not (len(dark) and len(bright)):
        return None
    return None if open_question else (picture.pixels >= HALF_WHITE).astype(np.uint8)


def _of_numbers(picture, values):
    # Only a mask that has a 1 can mean void by 255.
    pixels = picture.pixels
    return pixels if FOREGROUND in values else (pixels == VOID).astype(np.uint8)


def _numbers_hold(values, colours):
    """Whether the numbers 0, 1 and 255 of a palette may be taken: its colours are PASCAL VOC's
    for them, or 0 is black and no other is."""
    if not MASK_VALUES.issuperset(values.tolist()):
        return False
    dark = near(colours, 0)
    return np.array_equal(label_files.voc_ids(colours), values) or (
        values[0] == 0 and dark[0] and not dark[1:].any()
    )


def _white_of(colours):
    white = near(colours, 255)
    return white.astype(np.uint8) if (white | near(colours, 0)).all() else None


def _softly(picture):
    """The mask of a picture that is almost black and white, None of any other."""
    colours = colours_of(picture)
    if picture.visible is not None:
        colours = colours[picture.visible]
    spread = colours.max(axis=-1).astype(int) - colours.min(axis=-1)
    grey = colours.mean(axis=-1)
    clear = (grey <= _SOFT_DARK) | (grey >= _SOFT_BRIGHT)
    if np.mean(clear & (spread <= _COLOURLESS)) < _SOFT_SHARE:
        return None
    whole = np.array(Image.fromarray(colours_of(picture)).convert("L"))
    return (whole >= HALF_WHITE).astype(np.uint8)


# === What transparency says ===


def _where_visible(picture, drawn, path):
    """The mask of a picture with transparent parts, by its colours or by what is opaque."""
    visible = picture.visible
    if drawn is None:
        shown = colours_of(picture)[visible].astype(int)
        if (np.ptp(shown, axis=0) > 2 * _SAME).any():
            raise _not_black_and_white(picture, path)
        return visible.astype(np.uint8)
    if (drawn == drawn[0, 0]).all():
        return visible.astype(np.uint8)
    if not drawn[~visible].any():
        return drawn
    raise InputError(
        f"{path}: expected a mask whose colours and transparency say the same, received one "
        "that is white where it is transparent and has black too. Save it in black and white "
        "without transparency (alpha)."
    )


# === Messages ===


def _not_black_and_white(picture, path):
    if not picture.is_coloured and picture.visible is None:
        values = f"the values {shown_values(picture.used())}"
        if picture.palette is not None:
            values += f" in the colours {_shown_colours(picture)} of a palette"
        return InputError(
            f"{path}: expected a mask of 0 and 1 or of 0 and 255, received {values}. Save the "
            "object as white (255), the rest as black (0). (Of a label map of class ids, "
            "`crnet predict` and `crnet client` take one: --class_id=N; of a map in colours, "
            f"{FLAG}=R,G,B takes one.)"
        )
    clear = " with transparency (alpha)" if picture.visible is not None else ""
    kind = "JPEG" if picture.format in JPEGS else picture.format
    return InputError(
        f"{path}: expected a mask in black and white, 255 where the object is and 0 elsewhere, "
        f"received a {kind} in colours{clear}: {_shown_colours(picture)}. Save the mask as a "
        f"grey PNG without transparency, or say which colour is the object: {FLAG}=R,G,B. If "
        "this is the photo, the two are swapped."
    )


def _shown_colours(picture):
    """The five most frequent colours of what is visible."""
    colours = colours_of(picture)
    if picture.visible is not None:
        colours = colours[picture.visible]
    found, counts = np.unique(colour_keys(colours.reshape(-1, 3)), return_counts=True)
    first = found[np.argsort(-counts, kind="stable")[:5]]
    shown = [str(tuple(colour)) for colour in colours_of_keys(first).tolist()]
    return ", ".join(shown) + (f" and {len(found) - 5:,} more" if len(found) > 5 else "")
