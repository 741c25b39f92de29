"""Pictures of masks and episodes, with NumPy and Pillow only.

Pictures are uint8 [H,W,3] RGB; masks are uint8 [H,W] with 0 background, 1 foreground and
255 void, probabilities float [H,W] of the foreground.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from crnet_tf.images.mask_values import FOREGROUND, VOID

OBJECT = (255, 90, 20)
CONTOUR = (255, 255, 255)
GREY = (128, 128, 128)
PAPER, INK = (255, 255, 255), (30, 30, 30)
OPACITY = 0.5
CAPTION, GAP = 16, 4  # px
CELL = 160  # side of a photo in a panel, px


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A photo [H,W,3] with its mask [H,W] over it: translucent colour, contour, void grey.

    Raises:
        ValueError: image and mask are not uint8 pictures of one size.
    """
    if image.shape != (*mask.shape, 3) or image.dtype != np.uint8:
        raise ValueError(
            "overlay: expected a uint8 photo [H,W,3] and a mask [H,W] of its size, received "
            f"{image.dtype} {list(image.shape)} and {list(mask.shape)}."
        )
    foreground = mask == FOREGROUND
    picture = image.astype(np.float32)
    for area, colour in ((foreground, OBJECT), (mask == VOID, GREY)):
        picture[area] += OPACITY * (np.float32(colour) - picture[area])
    # A line of one pixel would vanish when a large photo is looked at as a whole.
    picture[_contour(foreground, max(1, max(mask.shape) // 400))] = CONTOUR
    return np.round(picture).astype(np.uint8)


def overlay_classes(image: np.ndarray, classes: np.ndarray, palette: bytes) -> np.ndarray:
    """A photo [H,W,3] with classes [H,W] (0 background, 1..N) over it, coloured by palette."""
    colours = np.frombuffer(palette, np.uint8).reshape(-1, 3)[classes].astype(np.float32)
    opacity = OPACITY * (classes > 0)[..., None]
    return np.round(image + opacity * (colours - image)).astype(np.uint8)


def _contour(foreground, thickness):
    """Pixels of a bool area [H,W] at most `thickness` away from its outside."""
    inner = foreground
    for _ in range(thickness):
        padded = np.pad(inner, 1, mode="edge")  # the photo's own edge is no contour
        inner = (
            inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        )
    return foreground & ~inner


def panel(
    support_image: np.ndarray,
    support_mask: np.ndarray,
    query_image: np.ndarray,
    query_mask: np.ndarray | None,
    step_probabilities: list[np.ndarray],
    *,
    cell: int = CELL,
    threshold: float = 0.5,
) -> np.ndarray:
    """One episode in a row: support, query, truth, and each refinement step (Sec. 4.5).

    Args:
        support_image, support_mask: [H,W,3] and [H,W].
        query_image: [H,W,3], of any other size.
        query_mask: [H,W] of the query's size, or None where the truth is unknown.
        step_probabilities: T maps [h,w] of any size, the last one the answer.
        cell: side of the square every photo is fitted into, px.
        threshold: foreground is what is more probable than this.

    Returns:
        A `row`.
    """
    cells = [("support", support_image, support_mask), ("query", query_image, None)]
    if query_mask is not None:
        cells.append(("truth", query_image, query_mask))
    for step, probability in enumerate(step_probabilities, 1):
        # Resized as a probability and thresholded after, which keeps the border smooth.
        size = fitted_size(query_image.shape[:2], cell)
        fitted = Image.fromarray(np.float32(probability))
        fitted = fitted.resize(size, Image.Resampling.BILINEAR)
        mask = (np.asarray(fitted) > threshold).astype(np.uint8)
        cells.append((f"step {step}", query_image, mask))
    return row(cells, cell)


def row(cells: list[tuple[str, np.ndarray, np.ndarray | None]], cell: int = CELL) -> np.ndarray:
    """Photos side by side, each below its caption and fitted into a square.

    Args:
        cells: N of (caption, photo [H,W,3], its mask of any size or None).

    Returns:
        uint8 picture [CAPTION + cell, N * (cell + GAP) - GAP, 3].
    """
    pictures = [_captioned_cell(*content, cell) for content in cells]
    gap = np.full((CAPTION + cell, GAP, 3), PAPER, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(parts[:-1], axis=1)


def contact_sheet(panels: list[np.ndarray]) -> np.ndarray:
    """Panels of any widths, one below the other: uint8 [H,W,3].

    Raises:
        ValueError: there is no panel.
    """
    if not panels:
        raise ValueError("contact_sheet: expected at least one panel, received none.")
    height = sum(picture.shape[0] for picture in panels) + GAP * (len(panels) - 1)
    width = max(picture.shape[1] for picture in panels)
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    top = 0
    for picture in panels:
        sheet[top : top + picture.shape[0], : picture.shape[1]] = picture
        top += picture.shape[0] + GAP
    return sheet


def fitted_size(shape: tuple[int, int], cell: int) -> tuple[int, int]:
    """(width, height), Pillow's order, of a photo (H, W) scaled into a square."""
    scale = cell / max(shape)
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _captioned_cell(caption, image, mask, cell):
    """Photo and mask fitted into a square below a caption: uint8 [CAPTION + cell, cell, 3]."""
    size = fitted_size(image.shape[:2], cell)
    image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    if mask is not None:
        mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        image = overlay(image, mask)
    canvas = Image.new("RGB", (cell, CAPTION + cell), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((2, 2), caption, fill=INK, font=ImageFont.load_default())
    left, top = (cell - size[0]) // 2, CAPTION + (cell - size[1]) // 2
    canvas.paste(Image.fromarray(image), (left, top))
    return np.asarray(canvas)
