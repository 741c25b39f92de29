"""SBD, the Semantic Boundaries Dataset: labels of 11,355 photos of PASCAL VOC 2011.

`benchmark.tgz` unpacks to

    benchmark_RELEASE/dataset/img/2008_000002.jpg    photos
    benchmark_RELEASE/dataset/cls/2008_000002.mat    MATLAB v5: GTcls.Segmentation, 0..20
    benchmark_RELEASE/dataset/{train,val}.txt        8,498 and 2,857 ids

Its own division knows nothing of VOC 2012: half of VOC's validation photos are among it.
"""

import io
import pathlib
import struct
import zlib

import numpy as np

from crnet_tf.common.errors import InputError
from crnet_tf.images.photos import PathLike

_HEADER, _TAG, _COMPRESSED = 128, struct.Struct("<II"), 15  # of a MATLAB v5 file


def find_sbd(sbd_dir: PathLike) -> pathlib.Path:
    """The folder with `cls` and `train.txt`, at `sbd_dir` or up to two levels below it."""
    given = pathlib.Path(sbd_dir)
    for folder in (given, given / "dataset", given / "benchmark_RELEASE" / "dataset"):
        if (folder / "cls").is_dir() and (folder / "train.txt").is_file():
            return folder
    raise FileNotFoundError(
        f"--sbd_dir: expected SBD's benchmark_RELEASE (dataset/cls, dataset/train.txt), "
        f"received {str(given)!r}, which "
        f"{'does not hold them' if given.is_dir() else 'is not there'}. docs/guides/data.md "
        "says where to get it."
    )


def read_segmentation(path: PathLike) -> np.ndarray:
    """Label map of `cls/<id>.mat`: uint8 [H,W] class ids 0..20; SBD has no void.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds no GTcls.Segmentation.
    """
    import scipy.io  # slow, and builders are commands

    content = pathlib.Path(path).read_bytes()
    try:
        _check_sums(content)
        ids = scipy.io.loadmat(io.BytesIO(content), variable_names="GTcls")["GTcls"]
        ids = ids["Segmentation"][0, 0]
        readable = ids.ndim == 2 and ids.size and ids.dtype == np.uint8
    except Exception as error:  # what SciPy raises on damaged files has no common base
        raise InputError(
            f"{path}: expected a MATLAB v5 file with GTcls.Segmentation, received "
            f"{len(content)} bytes that cannot be read so ({type(error).__name__}: {error}). "
            "It is damaged or of another kind: unpack benchmark.tgz again."
        ) from error
    if not readable:
        raise InputError(
            f"{path}: expected GTcls.Segmentation as uint8 [H,W], received {ids.dtype} "
            f"{list(ids.shape)}. Use the cls files of SBD, not inst."
        )
    return ids


def _check_sums(content):
    """Raises when a compressed part is damaged: SciPy's parser can crash on its wreckage."""
    at = _HEADER
    while at < len(content):
        kind, size = _TAG.unpack_from(content, at)
        at += _TAG.size
        if at + size > len(content):
            raise ValueError("truncated")
        if kind == _COMPRESSED:
            zlib.decompress(content[at : at + size])
        at += size
