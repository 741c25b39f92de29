"""COCO's format as tools really write it: read where the meaning is certain, else counted."""

import json
import unicodedata

import numpy as np
import pytest
from helpers.own_photos import CLASSES, HEIGHT, WIDTH, scene, write_coco, write_photo
from PIL import Image

from crnet_tf.annotations import coco_json

BOX = (6, 4, 30, 24)  # left, top, right, bottom
POLYGON = [6, 4, 30, 4, 30, 24, 6, 24]
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[4:24, 6:30] = 1


@pytest.fixture
def coco(tmp_path):
    pytest.importorskip("pycocotools")
    return Coco(*write_coco(tmp_path))


class Coco:
    """The six scenes; what the first photo has, is `objects` instead, of class cat."""

    def __init__(self, path, images):
        self.path, self.images = path, images
        self.content = json.loads(path.read_text(encoding="utf-8"))

    def objects(self, *given):
        kept = [a for a in self.content["annotations"] if a["image_id"] != 0]
        new = [
            {"id": f"n{i}", "image_id": 0, "category_id": 10} | o for i, o in enumerate(given)
        ]
        self.content["annotations"] = kept + new
        return self

    def list(self, **options):
        self.path.write_text(json.dumps(self.content), encoding="utf-8")
        return coco_json.list_photos(self.path, self.images, **options)

    def drawn(self, segmentation, **more):
        """The label map of the first photo with one object, and the notes."""
        polygon = [40, 30, 44, 30, 44, 34]
        other = {"segmentation": [polygon], "category_id": 20}
        listing = self.objects({"segmentation": segmentation} | more, other).list()
        assert listing.photos[0].name == "p0"
        label = coco_json.read_label(listing.photos[0])
        label[30:, 40:] = 0
        return label, " ".join(listing.notes)


def runs(mask, down=True):
    values = mask.ravel(order="F" if down else "C")
    bounds = np.flatnonzero(np.diff(np.r_[0, values, 0]))
    counts = np.diff(np.r_[0, bounds, len(values)])
    return {"size": [HEIGHT, WIDTH], "counts": counts.tolist()}


def packed(mask):
    from pycocotools import mask as coco_mask

    return coco_mask.encode(np.asfortranarray(mask))["counts"]


POINTS = [POLYGON[i : i + 2] for i in range(0, 8, 2)]
LEFT, RIGHT = MASK.copy(), MASK.copy()
LEFT[:, 20:], RIGHT[:, :20] = 0, 0


@pytest.mark.parametrize(
    "segmentation",
    [
        [POLYGON],
        POLYGON,
        POINTS,
        [POINTS],
        [POLYGON, []],
        [POLYGON, [3, 3, 4, 4]],
        [[str(value) for value in POLYGON]],
        runs(MASK),
        [runs(LEFT), runs(RIGHT)],
    ],
)
def test_one_shape_in_many_spellings(coco, segmentation):
    label, notes = coco.drawn(segmentation, bbox=[6, 4, 24, 20], area=480)
    np.testing.assert_array_equal(label, MASK)
    assert "objects" not in notes


@pytest.mark.parametrize("spelled", [bytes.decode, str])
def test_counts_that_are_text_of_bytes(coco, spelled):
    segmentation = {"size": [HEIGHT, WIDTH], "counts": spelled(packed(MASK))}
    label, _ = coco.drawn(segmentation)
    np.testing.assert_array_equal(label, MASK)


@pytest.mark.parametrize(
    "segmentation, kind",
    [
        (None, "without a segmentation"),
        ([], "without a segmentation"),
        ([[]], "without a segmentation"),
        ({}, "without a segmentation"),
        ([[], []], "without a segmentation"),
        (runs(np.zeros_like(MASK)), "without a segmentation"),
        ([[6, 4, 24, 20]], "fewer than 3 corners"),
        ([6, 4, 24, 20], "fewer than 3 corners"),
        ([[6, 4], [24, 20]], "fewer than 3 corners"),
        ({"size": [WIDTH, HEIGHT], "counts": runs(MASK)["counts"]}, "another size"),
        ({"size": [HEIGHT, WIDTH], "counts": [3, 4]}, "neither polygons nor run lengths"),
        ([[6, 4, 30, 4, 30]], "neither polygons nor run lengths"),
        ("mask.png", "neither polygons nor run lengths"),
        (7, "neither polygons nor run lengths"),
        ([[float("nan")] * 6], "neither polygons nor run lengths"),
        ([[1, 1, 5, 1, 9, 1]], "cover no pixel"),
    ],
)
def test_what_is_no_object_is_counted_by_kind_with_the_first_file(coco, segmentation, kind):
    label, notes = coco.drawn(segmentation)
    assert not label.any()
    assert "1 objects " in notes and kind in notes and "p0.jpg, annotation n0" in notes


def test_a_class_of_no_usable_object_is_none(coco):
    for entry in coco.content["annotations"]:
        if entry["category_id"] == 30:
            entry["segmentation"] = [[]]
    listing = coco.list()
    assert listing.class_names == CLASSES[:2]
    assert any(f"{n} objects without a segmentation" in " ".join(listing.notes) for n in (3, 4))


def test_outlines_of_a_larger_photo_are_a_problem_of_their_photo(coco):
    twice = [2 * value for value in POLYGON]
    for segmentation in ([twice], [[value + 500 for value in POLYGON]]):
        listing = coco.objects({"segmentation": segmentation}).list()
        (problem,) = listing.problems
        assert "p0.jpg: expected outlines in px of a photo of 48x36" in problem
        assert "annotation n0" in problem and "beyond its border" in problem
        assert len(listing.photos) == 5
    label, _ = coco.drawn([[-3, -3, 30, -3, 30, 24, -3, 24]])  # as editors leave it
    assert label[:24, :30].all() and label.sum() == 24 * 30


@pytest.mark.parametrize(
    "more",
    [
        {"segmentation": runs(MASK, down=False), "bbox": [6, 4, 24, 20]},  # rows for columns
        {"segmentation": [POLYGON], "bbox": [12, 8, 48, 40]},  # of a larger photo
        {"segmentation": [POLYGON], "bbox": [0.125, 0.11, 0.5, 0.55]},  # shares of the photo
        {"segmentation": [POLYGON], "area": 480 * 4},
    ],
)
def test_a_bbox_or_area_that_is_not_the_masks_is_said(coco, more):
    notes = " ".join(coco.objects(more).list().notes)
    assert "1 objects whose bbox or area is not that of their mask" in notes
    assert "p0.jpg, annotation n0" in notes


def test_rounding_and_placeholders_are_not_said(coco):
    for more in ({"bbox": [5.4, 3.5, 25.2, 21], "area": 500}, {"bbox": [0] * 4, "area": 0}):
        assert "bbox" not in " ".join(
            coco.objects({"segmentation": [POLYGON]} | more).list().notes
        )


# === Crowds ===


def test_crowds_are_counted_and_a_flag_takes_them_as_objects(coco):
    crowd = {"segmentation": runs(MASK), "iscrowd": 1}
    coco.objects(crowd, crowd | {"category_id": 20})
    notes = " ".join(coco.list().notes)
    assert "2 objects are crowds (iscrowd=1)" in notes and "--crowds=objects" in notes
    assert (coco_json.read_label(coco.list().photos[0])[MASK == 1] == 255).all()
    listing = coco.list(crowds="objects")
    assert "crowd" not in " ".join(listing.notes)
    assert listing.photos[0].classes == (1, 2)


def test_a_class_of_crowds_alone_says_which_flag(coco):
    for entry in coco.content["annotations"]:
        entry["iscrowd"] = int(entry["category_id"] == 20)
    listing = coco.list()
    assert "dog" not in listing.class_names
    assert "'dog'. --crowds=objects" in " ".join(listing.notes)
    for entry in coco.content["annotations"]:
        entry["iscrowd"] = "1"
    with pytest.raises(ValueError, match="instances.json: .*crowds.*--crowds=objects"):
        coco.list()
    assert coco.list(crowds="objects").class_names == CLASSES


# === Ids, categories, sizes, names ===


def test_orphans_are_counted(coco):
    coco.content["annotations"][0]["image_id"] = 12345
    coco.content["annotations"][1]["category_id"] = 12345
    notes = " ".join(coco.list().notes)
    for thing in ("photos", "categories"):
        assert f"1 annotations of {thing} that the file does not list" in notes


def test_ids_may_be_text(coco):
    for entry in coco.content["annotations"]:
        entry["image_id"], entry["category_id"] = (
            str(entry["image_id"]),
            f" {entry['category_id']}",
        )
    for entry in coco.content["categories"]:
        entry["id"] = float(entry["id"])
    listing = coco.list()
    assert len(listing.photos) == 6 and not listing.problems
    np.testing.assert_array_equal(coco_json.read_label(listing.photos[0]), scene(0))


def test_only_categories_with_objects_must_differ_in_name(coco):
    coco.content["categories"] += [{"id": 98, "name": "unicorn"}, {"id": 97, "name": "cat"}]
    assert coco.list().class_names == CLASSES
    coco.objects({"segmentation": [POLYGON], "category_id": 97})
    with pytest.raises(ValueError, match=r"every category once, received name \['cat'\]"):
        coco.list()


@pytest.mark.parametrize("name", ["background", "Background", "_background_", "BG"])
def test_a_category_called_background_is_asked_about(coco, name):
    coco.content["categories"][0]["name"] = name
    with pytest.raises(ValueError, match=f"instances.json: .*{name}.*--background=class.*none"):
        coco.list()
    assert coco.list(background="class").class_names == (name, *CLASSES[1:])
    assert coco.list(background="none").class_names == CLASSES[1:]
    coco.content["annotations"] = [
        a for a in coco.content["annotations"] if a["category_id"] != 10
    ]
    assert coco.list().class_names == CLASSES[1:]


def test_missing_sizes_are_those_of_the_photos(coco):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    lying = np.zeros((WIDTH, HEIGHT, 3), np.uint8)
    Image.fromarray(lying).save(coco.images / "p0.jpg", exif=exif)
    coco.content["images"][0] |= {"width": None, "height": None}
    del coco.content["images"][1]["width"], coco.content["images"][1]["height"]
    listing = coco.list()
    assert not listing.problems
    for number in (0, 1):
        label = coco_json.read_label(listing.photos[number])
        np.testing.assert_array_equal(label, scene(number))


@pytest.mark.parametrize(
    "named, said",
    [
        ("p0.JPG", False),
        ("P0.jpg", False),
        ("C:\\Users\\lab\\p0.jpg", True),
        ("/data/lab/photos/p0.jpg", True),
        ("https://example.org/set/p0.jpg", True),
    ],
)
def test_photos_are_found_by_their_names(coco, named, said):
    coco.content["images"][0]["file_name"] = named
    listing = coco.list()
    assert not listing.problems and listing.photos[0].name in ("p0", "P0")
    assert listing.photos[0].path == coco.images / "p0.jpg"
    told = "1 photos are named with folders that are not here; taken by name alone"
    assert (told in " ".join(listing.notes)) == said


def test_accents_in_either_encoding_are_the_same_name(coco):
    for number, form in enumerate(("NFC", "NFD")):
        write_photo(coco.images / unicodedata.normalize(form, f"é{number}.jpg"), 0)
        other = {"NFC": "NFD", "NFD": "NFC"}[form]
        name = unicodedata.normalize(other, f"é{number}.jpg")
        coco.content["images"][number]["file_name"] = name
    assert not coco.list().problems


def test_a_name_that_two_files_have_is_no_match_and_three_files_are_shown(coco):
    for folder in ("a", "b"):
        write_photo(coco.images / folder / "x.jpg", 0)
    for named in ("C:/x.jpg", "nowhere.jpg"):
        coco.content["images"][0]["file_name"] = named
        (problem,) = coco.list().problems
        assert "found none" in problem and "holds p0.jpg, p1.jpg, p2.jpg and others" in problem


def test_files_in_utf_16_are_read_and_others_say_the_remedy(coco):
    coco.path.write_bytes(json.dumps(coco.content, ensure_ascii=False).encode("utf-16"))
    assert coco_json.list_photos(coco.path, coco.images).class_names == CLASSES
    coco.path.write_bytes(json.dumps(coco.content, ensure_ascii=False).encode("cp1252"))
    with pytest.raises(ValueError, match="instances.json: expected JSON in UTF-8.*iconv"):
        coco_json.list_photos(coco.path, coco.images)
