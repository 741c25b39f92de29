"""Whatever a file of annotations says: label maps of their photos, or a problem that names the
file."""

import json

import numpy as np
import pytest
from helpers import annotation_files
from helpers.annotation_files import DOCUMENTS
from helpers.fuzzing import cases
from helpers.json_mutations import VALUES, mutated
from helpers.malformed_images import damaged
from hypothesis import given
from hypothesis import strategies as st

from crnet_tf.annotations import coco
from crnet_tf.common.errors import InputError


@pytest.fixture
def folder(tmp_path):
    return annotation_files.write_photo(tmp_path)


def check(folder, kind, document):
    annotation_files.check(folder, kind, json.dumps(document).encode())
    if kind == "coco":  # it is not of COCO's own categories
        with pytest.raises(InputError, match="a.json: "):
            coco.read_instances(folder / "a.json", folder, ("person",))


@pytest.mark.parametrize("kind", DOCUMENTS)
@given(data=st.data())
@cases(30)
def test_changed_documents(folder, kind, data):
    check(folder, kind, data.draw(mutated(DOCUMENTS[kind])))


@pytest.mark.parametrize("kind", DOCUMENTS)
@given(document=VALUES)
@cases(20)
def test_other_documents(folder, kind, document):
    check(folder, kind, document)


@given(lines=damaged([annotation_files.YOLO_LINES.encode()]))
@cases(30)
def test_damaged_lines_of_yolo(folder, lines):
    annotation_files.check(folder, "yolo", annotation_files.text("yolo"), lines)


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_the_documents_are_right_as_they_are(folder, kind):
    (label,) = annotation_files.read(folder, kind, annotation_files.text(kind))
    void = {255} if kind in ("labelme", "coco") else set()
    assert set(np.unique(label)) == {0, 1, 2} | void
