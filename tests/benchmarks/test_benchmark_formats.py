"""The benchmark of formats compares files of one checkpoint."""

import pytest

from benchmarks import formats
from export.package import metadata


@pytest.mark.parametrize("where", [metadata.FILE, metadata.FILE.name], ids=str)
def test_exports_of_another_checkpoint_are_not_scored(where, tmp_path):
    checkpoint, folder = tmp_path / "best.keras", tmp_path / "out" / "1"
    checkpoint.write_bytes(b"weights")
    assert not formats.is_exported(folder, checkpoint)
    path = folder / where
    path.parent.mkdir(parents=True)
    sha256 = metadata.sha256(checkpoint)
    path.write_text(f'{{"checkpoint": {{"name": "best.keras", "sha256": "{sha256}"}}}}')
    assert formats.is_exported(folder, checkpoint)
    checkpoint.write_bytes(b"other weights")
    with pytest.raises(ValueError, match=r"expected an export of .*best\.keras.*--out"):
        formats.is_exported(folder, checkpoint)
