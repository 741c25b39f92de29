"""A folder of photos and a folder of label maps of the same names, with a colour table.

    name,id              or   name,r,g,b              or JSON: {"cat": 1, "dog": [64, 0, 128]}
    cat,1                     cat,128,0,0
    dog,2                     dog,64,0,128

Ids read palette or grey maps, colours RGB (or palette) ones. "background" and "void", in any
case, may stand in the table; without them background is 0 or black, and 255 is void where ids
are given.
"""

import csv
import functools
import json
import pathlib
from typing import NamedTuple

import numpy as np

from crnet_tf.annotations.answers import PhotoAnswer, check_values_suffice
from crnet_tf.annotations.listing import (
    LABEL_SUFFIXES,
    PHOTO_SUFFIXES,
    Listing,
    PhotoFile,
    check_file,
    files_by_name,
    match_labels,
)
from crnet_tf.common import files, tables
from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import some_files
from crnet_tf.common.progress import with_progress
from crnet_tf.common.threads import futures_of
from crnet_tf.images import label_files, png_files
from crnet_tf.images.label_pictures import colour_keys
from crnet_tf.images.mask_values import VOID, label_value

SPECIAL = {"background": 0, "void": VOID}
KEPT_MB = 256  # of label maps that are not read a second time


class Table(NamedTuple):
    """A colour table: what pixels of each name say, as ids or as R * 65536 + G * 256 + B."""

    in_colour: bool
    keys: dict[str, int]


class Runs(NamedTuple):
    """A label map as runs of equal pixels, row after row: most take a hundredth of its room."""

    keys: np.ndarray  # [R], ids or colours as in `Table`
    lengths: np.ndarray  # int32 [R]
    shape: tuple[int, int]


def list_photos(images: pathlib.Path, labels: pathlib.Path, colours: pathlib.Path) -> Listing:
    """Photos of `images` that have a map of the same name in `labels`.

    Class ids follow the order of the table; a name in no map gets none.

    Raises:
        FileNotFoundError, ValueError: a folder or the table is not as it should be.
    """
    table = read_table(colours)
    if images.resolve() == labels.resolve():
        raise InputError(
            f"--images, --labels: expected two folders, received {images} for both, where "
            "x.jpg and x.png look like two photos of one name. Move the label maps to a "
            "folder of their own."
        )
    paths, problems = files_by_name(images, PHOTO_SUFFIXES)
    maps, twice = files_by_name(labels, LABEL_SUFFIXES)
    for flag, folder, found, suffixes in (
        ("images", images, paths, PHOTO_SUFFIXES),
        ("labels", labels, maps, LABEL_SUFFIXES),
    ):
        if not found:
            raise FileNotFoundError(
                f"--{flag}: expected files of the kinds {', '.join(suffixes)} in {folder}, "
                f"found none.{some_files(folder)}"
            )
    matched, unmatched = match_labels(paths, maps, labels, "label map")
    problems += twice + unmatched
    pairs = {name: (matched[name], paths[name]) for name in sorted(matched)}
    held = _read_all(pairs, table, problems)
    wanted = [name for name in table.keys if name not in SPECIAL]
    present = [name for name in wanted if any(name in names for names, _ in held.values())]
    notes = [f"{n}: in no label map; not a class." for n in wanted if n not in present]
    ids = {name: i for i, name in enumerate(present, 1)}
    values = {name: label_value(c) for name, c in ids.items()} | SPECIAL
    drawing = {table.keys[n]: value for n, value in values.items() if n in table.keys}
    listed = [
        PhotoFile(
            name,
            paths[name],
            (matched[name], table.in_colour, drawing, held[name][1]),
            tuple(sorted(ids[n] for n in held[name][0] if n in ids)),
        )
        for name in paths
        if name in held
    ]
    return Listing(tuple(present), listed, problems, notes)


def read_label(photo: PhotoFile) -> np.ndarray:
    """Label map uint8 [H,W] of a photo: its own map with the values of our class ids."""
    path, in_colour, drawing, runs = photo.label
    if runs is None:
        runs, _ = _runs(path, photo.path, in_colour)
    drawing = {0: 0} | ({} if in_colour else {VOID: VOID}) | drawing
    known = sorted(drawing)
    values = np.array([drawing[key] for key in known], np.uint8)
    drawn = values[np.searchsorted(known, runs.keys)]
    return np.repeat(drawn, runs.lengths).reshape(runs.shape)


def read_table(path: pathlib.Path) -> Table:
    """The colour table in a CSV or JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table of names with an id or R,G,B in 0..255, or ambiguous.
    """
    check_file(path, "a colour table (CSV or JSON)")
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _json_rows(text) if path.suffix.lower() == ".json" else _csv_rows(text)
        rows = [(_special(name), values) for name, values in rows]
        numbers = {name: [int(number) for number in values] for name, values in rows}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected lines NAME,ID or NAME,R,G,B (or the same as a JSON object), "
            f"received {type(error).__name__}: {error}. Write the table again."
        ) from error
    lengths = {len(values) for values in numbers.values()}
    in_range = all(0 <= n <= 255 for values in numbers.values() for n in values)
    if len(numbers) < len(rows) or lengths not in ({1}, {3}) or not in_range:
        raise InputError(
            f"{path}: expected lines NAME,ID or NAME,R,G,B with commas, each name once, with "
            f"numbers in 0..255, received {len(rows)} lines of {len(numbers)} names with "
            f"{' or '.join(map(str, sorted(lengths))) or 'no'} numbers, such as "
            f"{_shown(rows, lengths)}. Use ids for all or colours for all."
        )
    keys = {name: int.from_bytes(bytes(values), "big") for name, values in numbers.items()}
    if len(set(keys.values())) < len(keys):
        raise InputError(
            f"{path}: expected another id or colour for every name, received two alike. Give "
            "each its own, or join the two names."
        )
    return Table(lengths == {3}, keys)


def _special(name):
    return name.lower() if name.lower() in SPECIAL else name


def _shown(rows, lengths):
    """A line of the table that has the fewest numbers, as it is."""
    fewest = [row for row in rows if len(row[1]) == min(lengths)]
    return repr(",".join(map(str, [fewest[0][0], *fewest[0][1]]))) if fewest else "none"


def _json_rows(text):
    return [
        (name, value if isinstance(value, list) else [value])
        for name, value in json.loads(text).items()
    ]


def _csv_rows(text):
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]
    heads = ["name", "id"], ["name", "r"]
    return [(row[0], row[1:]) for row in rows if [c.lower() for c in row[:2]] not in heads]


def _runs(path, photo, in_colour):
    """A label map as `Runs`, and {id: colour} of its palette, where ids are read from one."""
    colours = {}
    if in_colour:
        pixels = colour_keys(label_files.read_colours(path, photo))
    else:
        pixels, colours = label_files.read_numbered(path, photo)
    keys, lengths = label_files.runs(pixels)
    return Runs(keys, lengths.astype(np.int32), pixels.shape), colours


def _read_all(maps, table, problems):
    """{name: (names of the table in its map, `Runs` or None where there is no room)}.

    Args:
        maps: {name: (path, photo)}. problems: gets those of maps that are left out.
    """
    held, room, palette = {}, KEPT_MB << 20, {}
    done = futures_of(functools.partial(_read, table=table), maps.values())
    for name, future in zip(maps, with_progress(done, "label maps", len(maps)), strict=True):
        try:
            names, runs, colours = future.result()
            _check_palette(maps[name][0], colours, palette)
        except (OSError, InputError) as error:
            problems.append(str(error))
            continue
        size = runs.keys.nbytes + runs.lengths.nbytes
        if size <= room:
            room -= size
        else:
            runs = None
        held[name] = names, runs
    return held


def _check_palette(path, colours, palette):
    """Raises InputError where an id has another colour than in the maps before it.

    Args:
        palette: {id: (colour, path)} of those; gets what is new.
    """
    for number, colour in colours.items():
        known, first = palette.setdefault(number, (colour, path))
        if known != colour:
            raise InputError(
                f"{path}: expected one colour for id {number} in all label maps, received "
                f"{colour}, where {first} has {known}: a program may have numbered each "
                "palette anew. Export them again, or give colours in the table: NAME,R,G,B."
            )


def _read(pair, table):
    """Names of the table that occur in a label map, the map as `Runs`, and the colours of its
    palette.

    All its pixels must have a name.
    """
    path, photo = pair
    runs, colours = _runs(path, photo, table.in_colour)
    present = set(np.unique(runs.keys).tolist())
    known = {0, *table.keys.values()} | (set() if table.in_colour else {VOID})
    if present - known:
        strange = sorted(present - known)
        shown = [tuple(key.to_bytes(3, "big")) if table.in_colour else key for key in strange]
        kind = "colours" if table.in_colour else "ids"
        raise InputError(
            f"{path}: expected the {kind} of the table only, received also "
            f"{', '.join(map(str, shown[:5]))}{' ...' if shown[5:] else ''}. Add "
            "them to the table, or export the map without smoothing and compression."
        )
    return {name for name, key in table.keys.items() if key in present}, runs, colours


class Writer:
    """Writes `voc/SegmentationClass/NAME.png`, label maps in VOC's colours, and their table
    `voc/classes.csv`."""

    def __init__(self, out: pathlib.Path, shapes: str):
        self.out, self.class_names = out / "voc", ()

    def add(self, answer: PhotoAnswer) -> None:
        """Writes the map of a photo. Raises InputError for more than 254 classes."""
        self.class_names = answer.class_names
        check_values_suffice("voc", self.class_names)
        folder = self.out / "SegmentationClass"
        files.make_folder(folder)
        palette = png_files.voc_palette()
        png_files.write_label(folder / f"{answer.name}.png", answer.mask, palette)

    def finish(self) -> None:
        """Writes the table."""
        rows = [("name", "id"), *((name, i) for i, name in enumerate(self.class_names, 1))]
        files.write_text(self.out / "classes.csv", tables.comma_separated(rows))
