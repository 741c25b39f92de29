"""Photos that a source lists -> records: where every builder ends."""

import functools
import itertools
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from crnet_tf.annotations.listing import PhotoFile
from crnet_tf.data.index import Index
from crnet_tf.images import photos


def write_listed(
    out: photos.PathLike,
    splits: Mapping[str, Sequence[PhotoFile]],
    read_label: Callable[[PhotoFile], photos.PathLike | np.ndarray],
    *,
    filter: str,
    class_names: Sequence[str],
    **options,
) -> Index:
    """`writer.write_records` of photos as sources list them.

    Args:
        out, class_names: as there.
        splits: {"train", "val"} -> photos, in order.
        read_label: gives a photo's label map, uint8 [H,W], or its file. Picklable.
        filter: which classes of a photo are listed, see `filters.listed_classes`.
        options: the others of `write_records`.

    Raises:
        FileNotFoundError, ValueError: a photo or its label is not as it should be.
        FileExistsError, RuntimeError, OSError: see `writer.write_records`.
    """
    from crnet_tf.data.writing import writer  # TensorFlow: builders are commands

    if options.get("on_error", "stop") == "stop":
        _check_files(itertools.chain.from_iterable(splits.values()))
    make_item = functools.partial(
        _make_item, read_label=read_label, filter=filter, num_classes=len(class_names)
    )
    return writer.write_records(
        out, splits, make_item, filter=filter, class_names=class_names, **options
    )


def _check_files(listed):
    """Before the long work rather than in its midst."""
    files = [
        file for p in listed for file in (p.path, p.label) if isinstance(file, os.PathLike)
    ]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        more = " ..." if len(missing) > 3 else ""
        raise FileNotFoundError(
            f"expected the photo and the label of every line of the lists, received "
            f"{len(files) - len(missing)} of {len(files)} files; missing: "
            f"{', '.join(missing[:3])}{more}. Complete them, or leave such photos out with "
            "--on_error=skip."
        )


def _make_item(photo, read_label, filter, num_classes):
    from crnet_tf.data.writing.examples import make_example

    return make_example(
        photo.path,
        read_label(photo),
        filter=filter,
        num_classes=num_classes,
        filename=photo.name,
        classes=photo.classes or None,
        label_name=photo.label if isinstance(photo.label, os.PathLike) else None,
    )
