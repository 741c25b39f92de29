"""Whatever is in a file: a photo, a label map or a mask of the right kind, or an error that
names it."""

import pytest
from helpers.fuzzing import cases
from helpers.image_readers import check
from helpers.malformed_images import damaged, well_formed
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

WELL_FORMED = well_formed()
CONTENTS = st.binary(max_size=200) | damaged(WELL_FORMED.values())


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)  # no file here takes much memory
    return tmp_path / "a.file"


@pytest.mark.parametrize("name", WELL_FORMED)
def test_files_of_many_kinds(path, name):
    check(path, WELL_FORMED[name])


@given(content=CONTENTS)
@cases(50)
def test_damaged_files(path, content):
    check(path, content)
