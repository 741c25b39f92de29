"""A folder of numbered versions, as TF Serving watches it: each is whole or not there."""

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator

import tensorflow as tf

from crnet_tf.common import files
from crnet_tf.common.errors import InputError
from crnet_tf.common.locks import locked

SAVED_MODEL = "saved_model.pb"  # what makes a folder a SavedModel


def numbers(out: pathlib.Path) -> list[int]:
    """Numbers of the versions in a folder, whole SavedModels or not; other names are none."""
    return [int(path.name) for path in out.iterdir() if path.name.isdecimal()]


@contextlib.contextmanager
def new_version(
    out: pathlib.Path, version: int | None = None
) -> Iterator[tuple[int, pathlib.Path]]:
    """Gives a number and an empty work folder, which becomes `out/<number>` at the end.

    When the block raises, nothing is left of it, nor of folders made for it. The next number
    is one more than the largest there is.

    Raises:
        FileExistsError: that version is there; versions are never replaced.
        OSError: the disk is full.
        RuntimeError: another process is exporting to `out`.
        ValueError: `out` is itself a version.
    """
    out = pathlib.Path(out)
    made = [path for path in (out, *out.parents) if not path.exists()]
    files.make_folder(out)
    try:
        with locked(out, "is exporting to"), _told_when_full(out):
            for leftover in out.glob(".*.building"):  # of a killed export
                shutil.rmtree(leftover)
            number = _number(out, version)
            work = out / f".{number}.building"
            work.mkdir()
            try:
                yield number, work
                files.move(work, out / str(number))
            finally:
                shutil.rmtree(work, ignore_errors=True)
    finally:
        with contextlib.suppress(OSError):  # not empty: it succeeded
            for path in made:
                path.rmdir()


@contextlib.contextmanager
def _told_when_full(out):
    """A full disk (or quota) that TensorFlow meets is an OSError that says what to do."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:  # memory, too
        full = errno.ENOSPC, errno.EDQUOT
        if not any(os.strerror(number) in error.message for number in full):
            raise
        raise OSError(
            f"{out}: expected room for a version, received: {error.message}. Free some space, "
            "or choose another --out; nothing half-written stays."
        ) from error


def _number(out, version):
    if (out / SAVED_MODEL).exists():
        raise InputError(
            f"{out}: expected the folder above the versions, received a version. Give "
            f"--out={out.parent}."
        )
    taken = numbers(out)
    following = max(taken, default=0) + 1
    if version in taken:
        raise FileExistsError(
            f"{out}: expected a new version, received {version}, which is there and may be "
            f"served. Leave --version out to write {following}, or remove that folder."
        )
    return version or following
