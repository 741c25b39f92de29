"""Answers written in the formats of other tools, and read back by ours and by their own."""

import dataclasses
import json
import os
import types

import numpy as np
import pytest
from PIL import Image, ImageDraw

from crnet_tf.annotations import (
    brush,
    class_folders,
    coco_json,
    label_maps,
    label_studio,
    labelme,
    outlines,
    writing,
    yolo,
)
from crnet_tf.annotations.answers import PhotoAnswer, objects
from crnet_tf.common.errors import InputError
from crnet_tf.images import films
from crnet_tf.images.labelled import Moment
from crnet_tf.images.mask_files import read_mask
from crnet_tf.images.photos import read_photo

CLASSES = ("cup", 'Tasse, groß "1"')
HEIGHT, WIDTH = 40, 60


def ring_and_specks():
    """Two classes: a ring that touches the other class in its hole, a line, and single px."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    rows, columns = np.indices(mask.shape)
    distance = np.hypot(rows - 18, columns - 22)
    mask[(distance < 15) & (distance > 6)] = 1
    mask[distance < 5] = 2
    mask[36:, 48:] = 2  # at the corner of the photo
    mask[2, 40:58] = 1
    mask[6, 50] = mask[7, 51] = 1  # joined by a corner
    return mask


def answer(path, mask, name=None):
    probabilities = np.stack([np.where(mask == n, 0.75, 0.25) for n in (1, 2)])
    image = read_photo(path)
    return PhotoAnswer(
        path, name or path.stem, image, mask, probabilities, (0.75, 0.5), CLASSES
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """{file: mask}: a name in another script, a photo that lies on its side, an empty one."""
    folder = tmp_path_factory.mktemp("given") / "Fotos & mehr"
    folder.mkdir()
    mask = ring_and_specks()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(folder / "猫 one.png")
    Image.new("RGB", (HEIGHT, WIDTH), "blue").save(folder / "lying.jpg", exif=turned)
    Image.new("RGB", (WIDTH, HEIGHT), "grey").save(folder / "empty.jpg")
    return {
        folder / "empty.jpg": np.zeros_like(mask),
        folder / "lying.jpg": np.ascontiguousarray(mask[::-1]),
        folder / "猫 one.png": mask,
    }


@pytest.fixture(scope="module", params=writing.SHAPES)
def written(request, photos, tmp_path_factory):
    """All formats, by each kind of shapes; polygons of pieces, masks of classes."""
    out, shapes = tmp_path_factory.mktemp("found"), request.param
    options = {"shapes": shapes, "instances": shapes == "polygons"}
    with writing.results(out, formats=list(writing.FORMATS), **options) as results:
        for path, mask in photos.items():
            results.add(answer(path, mask))
    return types.SimpleNamespace(out=out, shapes=shapes, folder=next(iter(photos)).parent)


READERS = {
    "coco": lambda w: (coco_json, (w.out / "coco.json", w.folder)),
    "labelme": lambda w: (labelme, (w.out / "labelme",)),
    "labelstudio": lambda w: (label_studio, (w.out / "labelstudio.json", w.folder)),
    "yolo": lambda w: (yolo, (w.out / "yolo" / "data.yaml",)),
    "voc": lambda w: (
        label_maps,
        (w.folder, w.out / "voc" / "SegmentationClass", w.out / "voc" / "classes.csv"),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_written_is_read_back(written, photos, name):
    module, given = READERS[name](written)
    listing = module.list_photos(*given)
    assert not listing.problems and sorted(listing.class_names) == sorted(CLASSES)
    known = [listing.class_names.index(one) + 1 for one in CLASSES]
    read = {photo.path.name: module.read_label(photo) for photo in listing.photos}
    assert read.keys() >= {"lying.jpg", "猫 one.png"}
    for path, mask in photos.items():
        label = read.get(path.name, np.zeros_like(mask))
        for class_id, value in enumerate(known, 1):
            assert iou(label == value, mask == class_id) >= exactness(name, written.shapes)


def test_folders_hold_a_mask_of_each_class_and_lead_to_the_photos(written, photos):
    listing = class_folders.list_photos(written.out / "folders")
    assert not listing.problems and sorted(listing.class_names) == sorted(CLASSES)
    assert len(listing.photos) == 4  # nothing is in the empty one
    for one in listing.photos:
        (value,) = one.classes
        (mask,) = (mask for path, mask in photos.items() if path.samefile(one.path))
        wanted = mask == CLASSES.index(listing.class_names[value - 1]) + 1
        np.testing.assert_array_equal(class_folders.read_label(one) == value, wanted)


def test_void_stays_void_in_folders(photos, tmp_path):
    path, mask = [*photos.items()][-1]
    mask = mask.copy()
    mask[0] = 255
    writer = class_folders.Writer(tmp_path, "masks")
    writer.add(answer(path, mask))
    (cup,) = (tmp_path / "folders" / "cup" / "masks").iterdir()
    np.testing.assert_array_equal(read_mask(cup), np.where(mask == 2, 0, mask))


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_folders_are_not_called_as_no_folder_can_be(name, tmp_path):
    mask = np.ones((2, 2), np.uint8)
    given = PhotoAnswer(tmp_path / "a.jpg", "a", None, mask, mask[None], (1,), (name,))
    with pytest.raises(InputError, match="Rename the class"):
        class_folders.Writer(tmp_path / "out", "masks").add(given)
    assert not (tmp_path / "out").exists()


def exactness(name, shapes):
    """These shapes are small; docs/guides/formats.md has the figures of real ones."""
    return 0.97 if shapes == "polygons" and name != "voc" or name == "yolo" else 1


def iou(a, b):
    return 1.0 if not (a | b).any() else (a & b).sum() / (a | b).sum()


def test_pycocotools_draws_our_masks(written, photos):
    coco = pytest.importorskip("pycocotools.coco").COCO(written.out / "coco.json")
    images = {image["file_name"]: image for image in coco.loadImgs(coco.getImgIds())}
    assert list(images) == [path.name for path in photos]
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    for path, mask in photos.items():
        found = coco.loadAnns(coco.getAnnIds(images[path.name]["id"]))
        drawn = np.zeros_like(mask)
        for one in found:
            inside = coco.annToMask(one) > 0
            drawn[inside] = one["category_id"]
            assert one["score"] == 0.75 and iou(inside, mask == one["category_id"]) > 0
        assert iou(drawn > 0, mask > 0) >= exactness("coco", written.shapes)
        assert len(found) == (
            0 if not mask.any() else {"polygons": 5, "masks": 2}[written.shapes]
        )


def test_results_of_pycocotools_are_found(written):
    coco = pytest.importorskip("pycocotools.coco").COCO(written.out / "coco.json")
    results = coco.loadRes(coco.loadAnns(coco.getAnnIds()))
    assert len(results.getAnnIds()) == len(coco.getAnnIds())


def test_run_lengths_are_those_of_pycocotools():
    encode = pytest.importorskip("pycocotools.mask").encode
    rng = np.random.default_rng(0)
    for mask in (rng.random((70, 90)) > share for share in (-1, 0.001, 0.5, 0.999, 2)):
        given = coco_json.run_lengths(mask)
        assert given["counts"].encode() == encode(np.asfortranarray(mask, np.uint8))["counts"]
        assert given["size"] == [70, 90]


# Of label_studio_sdk 2.1.2, `converter.brush.mask2rle` of the mask below.
BRUSH_OF_THE_SDK = [
    0, 0, 0, 80, 57, 27, 254, 23, 0, 183, 255, 56, 5, 191, 248, 192, 35, 255, 190, 0,
]  # fmt: skip


def test_strokes_are_read_as_label_studio_writes_them():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = mask[3, 0] = True
    np.testing.assert_array_equal(brush.decoded(BRUSH_OF_THE_SDK, 4, 5), mask)
    np.testing.assert_array_equal(brush.decoded(brush.encoded(mask), 4, 5), mask)


def test_long_strokes_and_damaged_ones():
    mask = np.ones((300, 200), bool)
    mask[150] = False
    rle = brush.encoded(mask)
    np.testing.assert_array_equal(brush.decoded(rle, 300, 200), mask)
    with pytest.raises(InputError, match="damaged"):
        brush.decoded(rle[:-1], 300, 200)
    with pytest.raises(InputError, match="on 30x200 px, received 60000"):
        brush.decoded(rle, 200, 30)


def test_label_studio_gets_an_interface_and_addresses(written):
    tasks = json.loads((written.out / "labelstudio.json").read_text("utf-8"))
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=Fotos%20%26%20mehr/empty.jpg"
    assert tasks[0]["predictions"][0]["result"] == []
    kind = label_studio.KINDS[written.shapes]
    text = (written.out / "labelstudio.xml").read_text("utf-8")
    assert kind in text.lower() and "groß" in text
    result = tasks[1]["predictions"][0]["result"]
    assert all(one["type"] == kind and one["value"][kind][0] in CLASSES for one in result)
    assert len({one["id"] for one in result}) == len(result)


def test_yolo_has_what_a_training_needs(written, photos):
    root = written.out / "yolo"
    assert (root / "labels" / "empty.txt").read_text() == ""
    for path in photos:
        assert (root / "images" / path.name).samefile(path)
        assert not os.readlink(root / "images" / path.name).startswith("/")
    shares = (root / "labels" / "lying.txt").read_text().split()
    assert all(0 <= float(one) <= 1 for one in shares)


def test_labelme_finds_the_photos_from_its_files(written, photos):
    for path, mask in photos.items():
        place = written.out / "labelme" / f"{path.stem}.json"
        content = json.loads(place.read_text("utf-8"))
        assert (place.parent / content["imagePath"]).samefile(path)
        assert not content["imagePath"].startswith("/")
        # Labelme turns photos upright before it compares these.
        assert (content["imageHeight"], content["imageWidth"]) == mask.shape
        assert bool(content["shapes"]) == mask.any()


def test_a_file_with_the_fields_of_labelme_is_read(tmp_path):
    """With the fields that Labelme 6.3.1 writes, in their order."""
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    shape = {"label": "cup", "points": [[1, 1], [5, 1], [5, 4]], "group_id": 1}
    shape |= {"description": "", "shape_type": "polygon", "flags": {}, "mask": None}
    content = {"version": "6.3.1", "flags": {}, "shapes": [shape], "imagePath": "a.jpg"}
    content |= {"imageData": None, "imageHeight": 6, "imageWidth": 8}
    (tmp_path / "a.json").write_text(json.dumps(content, indent=2))
    (photo,) = labelme.list_photos(tmp_path).photos
    assert labelme.read_label(photo)[1, 1:6].all()


# === Outlines ===


@pytest.mark.parametrize("seed", range(3))
def test_outlines_enclose_what_programs_fill(seed):
    """Blobs with holes, parts and specks."""
    import scipy.ndimage

    noise = np.random.default_rng(seed).normal(size=(90, 120))
    mask = scipy.ndimage.gaussian_filter(noise, 4) > 0.02
    mask[::17, ::23] ^= True
    image = Image.new("1", mask.shape[::-1])
    for polygon in outlines.polygons(mask, outlines.PIXELS):
        ImageDraw.Draw(image).polygon(polygon.ravel().tolist(), fill=1, outline=1)
    assert iou(np.array(image), mask) > 0.98
    pycocotools = pytest.importorskip("pycocotools.mask")
    flat = [polygon.ravel().tolist() for polygon in outlines.polygons(mask)]
    runs = pycocotools.merge(pycocotools.frPyObjects(flat, *mask.shape))
    assert iou(pycocotools.decode(runs) > 0, mask) > 0.995


def test_every_polygon_has_corners():
    for pixels in ([[1]], [[1, 1]], [[1], [1]], [[1, 0], [0, 1]], [[1, 1], [1, 1]]):
        for course in (outlines.EDGES, outlines.PIXELS):
            for polygon in outlines.polygons(np.array(pixels, bool), course):
                assert len(polygon) >= 3 and (polygon >= 0).all()


def test_real_masks_keep_their_shape(shared):
    """docs/guides/formats.md has the figures of more of them."""
    folder = shared / "data" / "VOC2012_subset" / "SegmentationClassAug"
    for path in sorted(folder.glob("*.png"))[::400]:
        label = np.array(Image.open(path))
        label[label == 255] = 0
        names = [str(n) for n in range(1, label.max() + 1)]
        sure = np.ones((len(names), *label.shape), np.float32)
        for one in objects(label, sure, names, connected=False):
            image = Image.new("1", label.shape[::-1])
            for polygon in one.joined_polygons(outlines.PIXELS):
                points = [number for point in polygon for number in point]
                ImageDraw.Draw(image).polygon(points, fill=1, outline=1)
            assert iou(np.array(image), one.mask) >= 0.98


# === Files ===


def test_names_that_collide_and_folders_of_photos(tmp_path):
    mask = ring_and_specks()
    for name in ("a/x.png", "b/x.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / name)
    with writing.results(tmp_path / "out", formats=["coco", "labelme", "yolo"]) as results:
        results.add(answer(tmp_path / "a" / "x.png", mask, "x"))
        results.add(answer(tmp_path / "b" / "x.png", mask, "x.png"))
    images = json.loads((tmp_path / "out" / "coco.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["a/x.png", "b/x.png"]
    assert len(coco_json.list_photos(tmp_path / "out" / "coco.json", tmp_path).photos) == 2
    assert len(yolo.list_photos(tmp_path / "out" / "yolo" / "data.yaml").photos) == 2
    assert len(list((tmp_path / "out" / "labelme").iterdir())) == 2


def test_what_was_answered_before_an_error_is_written_whole(photos, tmp_path):
    path = next(iter(photos))
    with (
        pytest.raises(KeyboardInterrupt),
        writing.results(tmp_path, formats=["coco", "labelstudio"]) as results,
    ):
        results.add(answer(path, ring_and_specks()))
        raise KeyboardInterrupt
    assert len(json.loads((tmp_path / "coco.json").read_text())["annotations"]) == 2
    names = {"coco.json", "labelstudio.json", "labelstudio.xml", "photos.csv"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_second_run_replaces_the_first(photos, tmp_path):
    for mask in (ring_and_specks(), np.zeros((HEIGHT, WIDTH), np.uint8)):
        with writing.results(tmp_path, formats=["yolo"]) as results:
            results.add(answer(next(iter(photos)), mask))
    assert (tmp_path / "yolo" / "labels" / "empty.txt").read_text() == ""


def test_a_photo_of_an_array_is_written_beside(tmp_path):
    image, mask = np.full((HEIGHT, WIDTH, 3), 7, np.uint8), ring_and_specks()
    sure = np.ones((2, HEIGHT, WIDTH))
    found = PhotoAnswer(tmp_path / "photo 1", "photo 1", image, mask, sure, [1, 1], CLASSES)
    with writing.results(tmp_path / "out", formats=["labelme"]) as results:
        results.add(found)
    np.testing.assert_array_equal(read_photo(tmp_path / "out" / "photo 1.png"), image)
    assert labelme.list_photos(tmp_path / "out").photos[0].path.name == "photo 1.png"


def test_a_legend_can_be_read_by_people(photos, tmp_path):
    with writing.results(tmp_path) as results:
        results.add(answer(next(iter(photos)), ring_and_specks()))
    text = (tmp_path / "classes.json").read_text(encoding="utf-8")
    assert "groß" in text and json.loads(text)["1"] == "cup"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ["coco", "cocoa"]}, "--format: expected .*labelstudio.* 'cocoa'"),
        ({"formats": []}, "--format: .* received none"),
        ({"shapes": "points", "formats": ["coco"]}, "--shapes: .* 'points'"),
        ({"shapes": "masks", "formats": ["yolo"]}, "--shapes: .* received --format=yolo"),
        ({"instances": True, "formats": ["voc", "png"]}, "--instances: .*voc,png"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything(tmp_path, options, message):
    with pytest.raises(InputError, match=message), writing.results(tmp_path, **options):
        pass
    assert not list(tmp_path.iterdir())


def test_more_classes_than_a_label_map_has_values_for(photos, tmp_path):
    path, names = next(iter(photos)), [f"class {n}" for n in range(255)]
    found = PhotoAnswer(
        path, "a", read_photo(path), ring_and_specks(), np.ones((255, 1, 1)), [1] * 255, names
    )
    with pytest.raises(InputError, match="at most 254 classes"):
        writing.Results(tmp_path, formats=["voc"]).add(found)


def test_a_film_that_is_interrupted_shows_what_was_answered(tmp_path):
    pytest.importorskip("av")
    image, mask = np.full((48, 64, 3), 90, np.uint8), np.eye(48, 64, dtype=np.uint8)
    sure = np.float32(mask)[None]
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), writing.results(out) as written:
        for number in (1, 2):
            path = tmp_path / f"clip_{number}.png"
            given = PhotoAnswer(path, path.stem, image, mask, sure, (0.5,), ("cup",))
            written.add(dataclasses.replace(given, moment=Moment("clip", number / 2 - 0.5)))
        raise KeyboardInterrupt
    shown = [one.moment.seconds for one in films.Film(out / "clip_overlay.mp4").frames()]
    assert shown == [0, 0.5]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    head, *rows = (out / "photos.csv").read_text().splitlines()
    assert head == "photo,seconds,presence,share" and rows[1].startswith("clip_2.png,0.500,")
