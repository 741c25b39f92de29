"""The photos of a folder, one after the other: which, in which order, several at a time.

Shared by all that segment photos, here (`predict`) or by way of a server.
"""

import collections
import concurrent.futures
import pathlib
from collections.abc import Callable, Iterator

from absl import flags

from crnet_tf.common.errors import InputError
from crnet_tf.common.folders import some_files
from crnet_tf.common.progress import with_progress
from crnet_tf.images.opening import PathLike
from crnet_tf.images.output_files import output_names


def paths_of(given: list[str]) -> list[pathlib.Path]:
    """The photos of a flag that lists photos and folders of them. Raises as `query_paths`."""
    return [path for one in given for path in query_paths(one)]


def define_negative_flag() -> None:
    """The flag of commands that are told of photos without the thing."""
    flags.DEFINE_list(
        "negative",
        [],
        "Photos, or folders of photos, that do not show the thing. What is falsely found in "
        "them lowers the presence of what looks like it.",
    )


def query_paths(query: PathLike) -> list[pathlib.Path]:
    """The photo `query`, or the files of the folder `query` in the order of their names.

    Raises:
        FileNotFoundError: there is no such file or folder, or the folder is empty.
    """
    query = pathlib.Path(query)
    if query.is_file():
        return [query]
    if not query.is_dir():
        raise FileNotFoundError(
            f"No {str(query)!r}: expected a photo or a folder of photos."
            f"{some_files(query.parent)}"
        )
    paths = sorted(p for p in query.iterdir() if p.is_file() and not p.name.startswith("."))
    if not paths:
        raise FileNotFoundError(
            f"{str(query)!r}: expected a folder of photos, received none.{some_files(query)}"
        )
    return paths


def each_photo(
    paths: list[pathlib.Path], work: Callable, skipped: list[str], concurrency: int = 1
) -> Iterator[tuple]:
    """(path, name of its results, `work(path)`) of every photo, in order, with a progress bar.

    Args:
        work: raises OSError or ValueError for a file that is to be left out.
        skipped: gets why files were left out, one line each.
        concurrency: so many are worked on or wait to be taken, and no more.

    Raises:
        ValueError: none is left.
    """
    futures = _in_order(work, paths, concurrency)
    photos_in_work = zip(paths, output_names(paths), futures, strict=True)
    for path, name, future in with_progress(photos_in_work, "photos", len(paths)):
        try:
            result = future.result()
        except (OSError, InputError) as error:
            skipped.append(str(error))
        else:
            yield path, name, result
    check_some_left(skipped, len(paths))


def check_some_left(skipped: list[str], count: int) -> None:
    """Raises InputError where all of so many photos were skipped."""
    if len(skipped) == count:
        reasons = "\n".join(skipped[:5])
        raise InputError(f"Expected at least one photo to segment, received none.\n{reasons}")


def _in_order(work, items, concurrency):
    """A future of work(item) for each item; the next one starts when the first is taken."""
    waiting = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        for item in items:
            if len(waiting) == concurrency:
                yield waiting.popleft()
            waiting.append(pool.submit(work, item))
        yield from waiting
