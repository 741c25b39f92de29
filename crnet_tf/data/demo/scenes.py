"""Scenes of the demo set: cluttered background, objects of several classes, light."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from crnet_tf.data import folds
from crnet_tf.data.demo import shapes
from crnet_tf.images import label_files
from crnet_tf.images.mask_values import VOID

MIN_PIXELS = 150  # of every class of a photo that stay visible, void border not counted
_SIDES = (96, 128)
_OVERSAMPLE = 4  # outlines are drawn larger and averaged down


def draw_scene(classes: list[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws one photo in which every one of `classes` (ids 1..20) is visible.

    Returns:
        photo uint8 [H,W,3] RGB and label uint8 [H,W]: ids, 255 on a border of 2 px.
    """
    height, width = (int(side) for side in rng.integers(_SIDES[0], _SIDES[1] + 1, 2))
    while True:
        photo = _background(height, width, rng)
        owner = np.zeros((height, width), np.int64)  # which object is on top, 0 none
        placed = _plan(classes, rng)
        for number, (class_id, radius) in enumerate(placed, 1):
            photo = _add_object(photo, owner, number, class_id, radius, rng)
        label = _label(owner, [class_id for class_id, _ in placed])
        areas = label_files.value_counts(label)
        if min(areas[c] for c in classes) >= MIN_PIXELS:
            return _light(photo, rng), label


def _plan(classes, rng):
    """[(class id, radius px)] of the objects, in drawing order: 1-3 a class, sizes vary."""
    planned = []
    for class_id in classes:
        count = int(rng.choice([1, 2, 3], p=[0.65, 0.25, 0.1]))
        largest = {1: 38, 2: 27, 3: 21}[count]
        planned += [(class_id, rng.uniform(15, largest)) for _ in range(count)]
    return [planned[i] for i in rng.permutation(len(planned))]


def _add_object(photo, owner, number, class_id, radius, rng):
    """Paints one object; marks its pixels in `owner` (in place) and returns the new photo."""
    height, width = owner.shape
    centre = rng.uniform(0.12, 0.88, 2) * (width, height)
    angle, mirror = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
    name = folds.class_name("demo", class_id)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([1.0, mirror])
    outlines = [o @ turn.T * radius + centre for o in shapes.outline(name, rng)]
    cover = _cover(outlines, height, width)  # [H,W] 0..1
    y, x = np.mgrid[:height, :width] - centre[::-1, None, None]
    u, v = cos * x + sin * y, mirror * (cos * y - sin * x)
    colours = shapes.paint(name, u, v, radius, rng)
    # Shaded towards one side, as a solid thing is.
    slope = (np.cos(1.0) * x + np.sin(1.0) * y) / radius
    colours = colours * (1 - rng.uniform(0, 0.22) * np.clip(slope, -1, 1))[..., None]
    photo = photo * (1 - rng.uniform(0.15, 0.45) * _shadow(cover, rng))[..., None]
    owner[cover > 0.5] = number
    return photo * (1 - cover[..., None]) + colours * cover[..., None]


def _cover(outlines, height, width):
    """Share of each pixel inside an odd number of outlines (x, y px): [H,W] in 0..1."""
    size = (width * _OVERSAMPLE, height * _OVERSAMPLE)
    inside = np.zeros(size[::-1], bool)
    for points in outlines:
        canvas = Image.new("1", size)
        ImageDraw.Draw(canvas).polygon([tuple(p * _OVERSAMPLE) for p in points], fill=1)
        inside ^= np.array(canvas)
    blocks = inside.reshape(height, _OVERSAMPLE, width, _OVERSAMPLE)
    return blocks.mean(axis=(1, 3))


def _shadow(cover, rng):
    down, right = rng.integers(1, 5, 2)
    moved = np.pad(cover, ((down, 0), (right, 0)))[: cover.shape[0], : cover.shape[1]]
    image = Image.fromarray((moved * 255).astype(np.uint8))
    return np.array(image.filter(ImageFilter.GaussianBlur(3))) / 255.0


def _label(owner, classes):
    """Class ids of the topmost objects, void on both sides of every outline."""
    label = np.array([0, *classes], np.uint8)[owner]
    edge = np.zeros(owner.shape, bool)
    for axis in (0, 1):
        ahead = [slice(None)] * 2
        behind = [slice(None)] * 2
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        differs = owner[tuple(ahead)] != owner[tuple(behind)]
        edge[tuple(ahead)] |= differs
        edge[tuple(behind)] |= differs
    label[edge] = VOID
    return label


def _background(height, width, rng):
    """Smooth noise between two colours with lines and blobs over it: [H,W,3] in 0..1."""
    share = _smooth_noise(height, width, rng.integers(2, 7), rng)[..., None]
    low, high = (_dull_colour(rng) for _ in range(2))
    fine = _smooth_noise(height, width, 24, rng)[..., None] - 0.5
    picture = low + (high - low) * share + rng.uniform(0.05, 0.3) * fine
    canvas = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(3, 12)):
        colour = tuple(int(c) for c in _dull_colour(rng) * 255)
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        dx, dy = rng.normal(0, 22, 2)
        if rng.random() < 0.5:
            draw.line((x, y, x + 2 * dx, y + 2 * dy), colour, int(rng.integers(1, 5)))
        else:
            around = rng.normal(0, 9, (int(rng.integers(3, 7)), 2)) + (x, y)
            draw.polygon([tuple(p) for p in around], colour)
    blurred = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.2)))
    return np.array(blurred) / 255.0


def _dull_colour(rng):
    """Any colour, mostly less saturated than an object's."""
    grey = rng.uniform(0.15, 0.85)
    return np.clip(grey + rng.uniform(0.05, 0.55) * (rng.random(3) - 0.5), 0, 1)


def _smooth_noise(height, width, cells, rng):
    small = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC)) / 255.0


def _light(photo, rng):
    """Gain, a cast of colour, a gradient of light and sensor noise: uint8 [H,W,3]."""
    height, width = photo.shape[:2]
    direction = rng.uniform(-0.22, 0.22, 2)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    gain = rng.uniform(0.72, 1.12) * (1 + direction[0] * x + direction[1] * y)
    lit = photo * gain[..., None] * rng.uniform(0.94, 1.06, 3)
    noisy = lit + rng.normal(0, rng.uniform(0.005, 0.025), photo.shape)
    return (np.clip(noisy, 0, 1) * 255).round().astype(np.uint8)
