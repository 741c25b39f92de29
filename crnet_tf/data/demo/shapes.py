"""The 20 classes of the demo set: each a family of shapes with its own texture and colours.

A class is recognised by outline, texture and two colours together. Classes share each of
the three with others, so none of them alone tells a novel class from a base class.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from crnet_tf.data import folds


@dataclasses.dataclass(frozen=True)
class Appearance:
    """Looks of a class: texture, its period in px, two colours (hue, saturation, value)."""

    texture: str
    period: tuple[float, float]
    first: tuple[float, float, float]
    second: tuple[float, float, float]


RED, ORANGE, YELLOW, LIME, GREEN = 0.0, 0.08, 0.15, 0.24, 0.36
CYAN, AZURE, BLUE, VIOLET, PINK = 0.5, 0.57, 0.65, 0.76, 0.9

APPEARANCES = {
    "disc": Appearance("stripes", (7, 9), (RED, 0.85, 0.85), (YELLOW, 0.25, 0.95)),
    "ring": Appearance("plain", (1, 1), (AZURE, 0.75, 0.9), (AZURE, 0.75, 0.9)),
    "crescent": Appearance("speckle", (2, 2), (YELLOW, 0.85, 0.95), (ORANGE, 0.9, 0.55)),
    "ellipse": Appearance("dots", (8, 10), (GREEN, 0.75, 0.5), (PINK, 0.3, 0.95)),
    "drop": Appearance("gradient", (1, 1), (VIOLET, 0.8, 0.6), (CYAN, 0.6, 0.95)),
    "triangle": Appearance("checker", (10, 12), (YELLOW, 0.85, 0.9), (BLUE, 0.8, 0.4)),
    "square": Appearance("grid", (9, 11), (GREEN, 0.3, 0.95), (GREEN, 0.85, 0.4)),
    "diamond": Appearance("rings", (8, 10), (PINK, 0.6, 0.95), (VIOLET, 0.8, 0.45)),
    "trapezoid": Appearance("stripes", (10, 13), (BLUE, 0.8, 0.75), (AZURE, 0.2, 0.95)),
    "arrow": Appearance("plain", (1, 1), (ORANGE, 0.9, 0.95), (ORANGE, 0.9, 0.95)),
    "pentagon": Appearance("blotches", (6, 8), (ORANGE, 0.75, 0.5), (YELLOW, 0.3, 0.9)),
    "hexagon": Appearance("dots", (7, 9), (YELLOW, 0.8, 0.95), (RED, 0.2, 0.15)),
    "octagon": Appearance("rings", (9, 11), (RED, 0.9, 0.75), (RED, 0.0, 0.95)),
    "star": Appearance("gradient", (1, 1), (LIME, 0.85, 0.9), (GREEN, 0.85, 0.4)),
    "burst": Appearance("rays", (9, 12), (PINK, 0.75, 0.95), (ORANGE, 0.5, 1.0)),
    "cross": Appearance("speckle", (2, 2), (CYAN, 0.75, 0.85), (BLUE, 0.85, 0.4)),
    "bar": Appearance("stripes", (6, 8), (RED, 0.0, 0.95), (RED, 0.0, 0.12)),
    "ell": Appearance("checker", (8, 10), (PINK, 0.7, 0.9), (GREEN, 0.3, 0.9)),
    "tee": Appearance("blotches", (6, 8), (VIOLET, 0.7, 0.85), (YELLOW, 0.6, 0.95)),
    "zigzag": Appearance("grid", (8, 10), (ORANGE, 0.6, 1.0), (CYAN, 0.8, 0.35)),
}


def outline(name: str, rng: np.random.Generator) -> list[np.ndarray]:
    """A member of a family of shapes: closed outlines [N,2] within about the unit circle.

    Areas inside an even number of outlines are holes (ring).
    """
    vary = rng.uniform  # one draw a free parameter: no two of a family are alike
    makers: dict[str, Callable[[], list]] = {
        "disc": lambda: [_regular(40)],
        "ring": lambda: [_regular(40), _regular(40) * vary(0.42, 0.56)],
        "crescent": lambda: [_crescent(vary(0.35, 0.5))],
        "ellipse": lambda: [_regular(40) * (1.1, vary(0.5, 0.66))],
        "drop": lambda: [_drop(vary(1.15, 1.45))],
        "triangle": lambda: [_regular(3) * (1.1, vary(0.95, 1.25))],
        "square": lambda: [_regular(4, turn=0.5)],
        "diamond": lambda: [_regular(4) * (1.2, vary(0.6, 0.75))],
        "trapezoid": lambda: [_trapezoid(vary(0.35, 0.6))],
        "arrow": lambda: [_arrow(vary(0.25, 0.38))],
        "pentagon": lambda: [_regular(5)],
        "hexagon": lambda: [_regular(6)],
        "octagon": lambda: [_regular(8)],
        "star": lambda: [_star(5, vary(0.42, 0.55))],
        "burst": lambda: [_star(int(rng.integers(10, 14)), vary(0.65, 0.75))],
        "cross": lambda: [_cross(vary(0.3, 0.42))],
        "bar": lambda: [_regular(4, turn=0.5) * (1.5, vary(0.42, 0.58))],
        "ell": lambda: [_ell(vary(0.55, 0.75))],
        "tee": lambda: [_tee(vary(0.28, 0.38))],
        "zigzag": lambda: [_zigzag(vary(0.55, 0.75))],
    }
    if name not in makers:
        raise ValueError(f"shape: expected one of {folds.DEMO_CLASSES}, received {name!r}.")
    return makers[name]()


def paint(
    name: str, u: np.ndarray, v: np.ndarray, radius: float, rng: np.random.Generator
) -> np.ndarray:
    """Texture of a class at object coordinates: u, v [h,w] px -> [h,w,3] RGB in 0..1.

    u and v turn with the object. Period, phase and colours vary a little from object to object.
    """
    look = APPEARANCES[name]
    period = rng.uniform(*look.period)
    first, second = (_colour(c, rng) for c in (look.first, look.second))
    share = _TEXTURES[look.texture](u, v, period, radius, rng)[..., None]  # [h,w,1]
    return first + (second - first) * share


# === Outlines ===


def _regular(corners, turn=0.0):
    angle = 2 * np.pi * (np.arange(corners) + turn) / corners
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def _star(points, inner):
    radius = np.where(np.arange(2 * points) % 2, inner, 1.1)
    return _regular(2 * points) * radius[:, None]


def _crescent(shift):
    outer = np.linspace(0.35 * np.pi, 1.65 * np.pi, 30)
    tip = np.array([np.cos(outer[0]), np.sin(outer[0])])
    centre = tip[0] + shift
    inner_radius = np.hypot(tip[0] - centre, tip[1])
    start = np.arctan2(tip[1], tip[0] - centre)
    inner = np.linspace(2 * np.pi - start, start, 30)
    back = np.stack([centre + inner_radius * np.cos(inner), inner_radius * np.sin(inner)], -1)
    return np.concatenate([np.stack([np.cos(outer), np.sin(outer)], -1), back]) * 1.2


def _drop(length):
    angle = np.linspace(0.3 * np.pi, 1.7 * np.pi, 30)
    head = np.stack([0.8 * np.cos(angle) - 0.35, 0.8 * np.sin(angle)], -1)
    return np.concatenate([head, [[length, 0.0]]])


def _trapezoid(top):
    return np.array([[-1.1, -0.75], [1.1, -0.75], [1.1 * top, 0.75], [-1.1 * top, 0.75]])


def _arrow(half):
    right = [[-1.2, half], [0.1, half], [0.1, 0.85], [1.2, 0.0]]
    return np.array(right + [[x, -y] for x, y in right[2::-1]])


def _cross(half):
    corner = np.array([[1.05, -half], [1.05, half], [half, half]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return np.concatenate([corner @ np.linalg.matrix_power(turn, i) for i in range(4)])


def _ell(thick):
    x, y = -0.85 + thick, -0.95 + thick
    corners = [[-0.85, -0.95], [0.85, -0.95], [0.85, y], [x, y], [x, 0.95], [-0.85, 0.95]]
    return np.array(corners)


def _tee(half):
    right = [[0.0, 0.95], [1.05, 0.95], [1.05, 0.95 - 2 * half], [half, 0.95 - 2 * half]]
    right += [[half, -1.0]]
    return np.array(right + [[-x, y] for x, y in right[:0:-1]])


def _zigzag(thick):
    x = np.linspace(-1.25, 1.25, 5)
    lower = np.where(np.arange(5) % 2, 0.25, -0.65) - thick / 2 + 0.2
    return np.concatenate([np.stack([x, lower], -1), np.stack([x, lower + thick], -1)[::-1]])


# === Textures: share of the second colour, [h,w] in 0..1 ===


def _plain(u, v, period, radius, rng):
    return np.zeros_like(u)


def _gradient(u, v, period, radius, rng):
    return np.clip(0.5 + u / (2 * radius), 0, 1)


def _stripes(u, v, period, radius, rng):
    return _step(np.sin(2 * np.pi * v / period + rng.uniform(0, 6)))


def _checker(u, v, period, radius, rng):
    wave = 2 * np.pi / period
    return _step(
        3 * np.sin(wave * u + rng.uniform(0, 6)) * np.sin(wave * v + rng.uniform(0, 6))
    )


def _dots(u, v, period, radius, rng):
    wave = 2 * np.pi / period
    return _step(2 * (np.cos(wave * u + rng.uniform(0, 6)) + np.cos(wave * v) - 0.6))


def _grid(u, v, period, radius, rng):
    wave = 2 * np.pi / period
    lines = np.maximum(np.cos(wave * u + rng.uniform(0, 6)), np.cos(wave * v))
    return _step(4 * (lines - 0.75))


def _rings(u, v, period, radius, rng):
    return _step(np.sin(2 * np.pi * np.hypot(u, v) / period + rng.uniform(0, 6)))


def _rays(u, v, period, radius, rng):
    count = np.round(2 * np.pi * 0.6 * radius / period)
    return _step(1.5 * np.sin(count * np.arctan2(v, u)))


def _blotches(u, v, period, radius, rng):
    wave = 2 * np.pi / period
    total = np.zeros_like(u)
    for angle in rng.uniform(0, 2 * np.pi, 6):
        along = np.cos(angle) * u + np.sin(angle) * v
        total += np.sin(wave * rng.uniform(0.5, 1) * along + rng.uniform(0, 6))
    return _step(total)


def _speckle(u, v, period, radius, rng):
    coarse = rng.random((u.shape[0] // 2 + 1, u.shape[1] // 2 + 1))
    return (np.kron(coarse, np.ones((2, 2)))[: u.shape[0], : u.shape[1]] > 0.55) * 1.0


_TEXTURES = {
    "plain": _plain, "gradient": _gradient, "stripes": _stripes, "checker": _checker,
    "dots": _dots, "grid": _grid, "rings": _rings, "rays": _rays, "blotches": _blotches,
    "speckle": _speckle,
}  # fmt: skip


def _step(wave):
    """A soft edge about a pixel wide, as a lens would make it."""
    return np.clip(0.5 + 1.2 * wave, 0, 1)


def _colour(hsv, rng):
    hue, saturation, value = np.array(hsv) + rng.normal(0, (0.012, 0.06, 0.06))
    sixths = (np.array([5, 3, 1]) + hue * 6) % 6
    drop = np.clip(np.minimum(sixths, 4 - sixths), 0, 1)
    return np.clip(value, 0.05, 1) * (1 - np.clip(saturation, 0, 1) * drop)
