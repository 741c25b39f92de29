"""Draws the rooms of this project as floors, and every import between two of them as an arc.

    python tools/floors.py docs/images/floors.svg

An arc leads down from the room that imports. `FLOORS` is the order that
tests/test_structure.py holds the imports to; the picture is made from the imports themselves.
"""

import ast
import collections
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[1]

# Each package from the ground up: a room imports only rooms below it, of its own package or of
# crnet_tf. The last floor holds the commands.
FLOORS = {
    "crnet_tf": (
        "common", "config options", "presets", "images", "annotations", "data", "network",
        "fewshot", "evaluation", "reporting", "training", "paper",
        "calibrate compact evaluate predict probe reduce report reproduce train train_jax",
    ),
    "pipelines": (
        "workers", "writing", "sources", "downloading", "checking", "finding",
        "build_coco build_demo build_episodes build_folder build_fss1000 build_voc download "
        "find pack_photos show verify",
    ),
    "export": ("graph", "package", "server client", "onnx saved_model serve teach tflite"),
    "crnet": ("__main__",),
}  # fmt: skip

_ROW, _TOP, _LEFT, _BOX = 40, 20, 20, 470  # px
_WIDTH, _BEND = 860, 30
_COLOURS = {
    "crnet_tf": "#0072B2",
    "pipelines": "#009E73",
    "export": "#D55E00",
    "crnet": "#333333",
}


def sources() -> dict[str, pathlib.Path]:
    """{dotted name: file} of every module of the packages."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in FLOORS
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def imported_names(path: pathlib.Path) -> set[str]:
    """Everything that a file imports anywhere in it, with the modules that it may mean."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write the whole name of what is imported"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def floor_of(module: str) -> tuple[str, int] | None:
    """(package, number of the floor) of a module; None for a package itself."""
    package, _, rest = module.partition(".")
    for number, rooms in enumerate(FLOORS.get(package, ())):
        if rest.split(".")[0] in rooms.split():
            return package, number
    return None


def arrows() -> collections.Counter:
    """{(floor that imports, floor that is imported): number of imports}."""
    modules, found = sources(), collections.Counter()
    for name, path in modules.items():
        for target in imported_names(path) & modules.keys():
            pair = floor_of(name), floor_of(target)
            if None not in pair and pair[0] != pair[1]:
                found[pair] += 1
    return found


def svg() -> str:
    """The picture: a row a floor, the top one first."""
    rows = [
        (package, number)
        for package in reversed(FLOORS)
        for number in reversed(range(len(FLOORS[package])))
    ]
    middle = {floor: _TOP + _ROW * i + _ROW // 2 for i, floor in enumerate(rows)}
    parts = [_arc(middle, *pair, count) for pair, count in sorted(arrows().items())]
    parts += [_room(floor, middle[floor]) for floor in rows]
    height = 2 * _TOP + _ROW * len(rows)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            'font-family="sans-serif" font-size="13">',
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _room(floor, y):
    package, number = floor
    names = FLOORS[package][number]
    commands = number == len(FLOORS[package]) - 1
    modules = [name for name in sources() if floor_of(name) == floor]
    title = f"{package}: commands" if commands else f"{package}/{names.replace(' ', ', ')}"
    lines = sum(
        len(sources()[name].read_text(encoding="utf-8").splitlines()) for name in modules
    )
    return (
        f'<rect x="{_LEFT}" y="{y - 15}" width="{_BOX}" height="30" rx="4" fill="white" '
        f'stroke="{_COLOURS[package]}" stroke-width="2"/>'
        f'<text x="{_LEFT + 10}" y="{y + 5}">{title}</text>'
        f'<text x="{_LEFT + _BOX - 10}" y="{y + 5}" text-anchor="end" fill="#666">'
        f"{len(modules)} files, {lines:,} lines</text>"
    )


def _arc(middle, source, target, count):
    start, end, x = middle[source] + 5, middle[target] - 5, _LEFT + _BOX
    out = x + _BEND + abs(end - start) * 0.55
    return (
        f'<path d="M {x} {start} C {out:.0f} {start}, {out:.0f} {end}, {x} {end}" fill="none" '
        f'stroke="{_COLOURS[source[0]]}" stroke-opacity="0.35" '
        f'stroke-width="{1 + min(count, 40) / 8:.2f}"/>'
    )


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_text(svg(), encoding="utf-8")
