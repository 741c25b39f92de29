"""One file over HTTP: resumed, retried, checked, and at its place only when it is right.

While it arrives it stands beside its place as `.NAME.partial`; `.NAME.partial.json` says from
where, so that a later run goes on. `NAME.sha256` (for `sha256sum -c`) is written with it.
"""

import os
import pathlib
import time
from collections.abc import Callable, Sequence

from crnet_tf.common import files
from crnet_tf.common.disk import sha256_of
from crnet_tf.common.locks import locked_beside
from crnet_tf.common.progress import megabytes
from pipelines.downloading.transfer import Expected, Interrupted, Partial, Refused, transfer

RETRIES = 5
TIMEOUT = 60.0  # s without a byte
LONGEST_WAIT = 60.0  # s


def fetch(
    urls: Sequence[str],
    path: str | os.PathLike,
    expected: Expected = Expected(),  # noqa: B008  frozen
    *,
    retries: int = RETRIES,
    timeout: float = TIMEOUT,
    wait: Callable[[float], None] = time.sleep,
) -> str:
    """Brings a file to `path` from the first of `urls` that has it; returns its sha256.

    A file that is at `path` already is checked and left alone. What arrived before an
    interruption is kept and asked for no second time, where the server plays along.

    Args:
        urls: addresses of the same file, tried in order.
        path: where it goes; its folder is made.
        expected: size and checksum it must have. Without a checksum the one of the first
            download, in `NAME.sha256`, is what later runs compare with.
        retries: attempts in a row that bring nothing new, per address, before it is given up.
        timeout: seconds without a byte that count as an interruption.
        wait: called with the seconds to pause.

    Raises:
        FileExistsError: another file is at `path`; it is never overwritten.
        OSError: no address gave the file, or the disk has no room for it.
        RuntimeError: another process is fetching it.
    """
    path = pathlib.Path(path)
    with locked_beside(path, "is downloading"):
        if path.exists():
            return _check_present(path, expected)
        partial = Partial(path)
        problems = []
        for url in urls:
            try:
                digest = _fetch_from(url, partial, expected, retries, timeout, wait)
            except Refused as error:
                problems.append(f"\n  {url}: {error}")
                continue
            partial.move_to(path)
            _record(path, digest)
            return digest
    kept = ""
    if partial.size:
        kept = f" {megabytes(partial.size)} of it are kept for the next try."
    raise OSError(
        f"{path.name}: expected it from one of {len(urls)} address(es), received it "
        f"from none:{''.join(problems)}\nTry again later, name other addresses (--urls, "
        f"--mirror), or bring the file to {path} by other means.{kept}"
    )


def _check_present(path, expected):
    wanted = expected.sha256 or _recorded(path)
    size = path.stat().st_size
    digest = sha256_of(path)
    if expected.size not in (None, size) or wanted not in (None, digest):
        raise FileExistsError(
            f"{path}: expected {_described(expected.size, wanted)}, received a file of "
            f"{_described(size, digest)}. It is never overwritten: move it away or delete it, "
            "and run again."
        )
    print(f"{path}: there already, {'as expected' if wanted else 'no checksum is known'}.")
    _record(path, digest)
    return digest


def _described(size, digest):
    parts = [f"{size:,} bytes"] if size is not None else []
    return ", ".join(parts + ([f"sha256 {digest}"] if digest else []))


def _recorded(path):
    record = path.with_name(f"{path.name}.sha256")
    return record.read_text().split()[0] if record.exists() else None


def _record(path, digest):
    files.write_text(path.with_name(f"{path.name}.sha256"), f"{digest}  {path.name}\n")


def _fetch_from(url, partial, expected, retries, timeout, wait):
    """Fills `partial` and checks it; returns its sha256."""
    same_file = partial.url == url and partial.validator
    if partial.size and not same_file and not expected.sha256:
        partial.clear()  # nothing would notice if the two parts were of different files
    resumed = partial.size > 0
    while True:
        _transfer_patiently(url, partial, expected, retries, timeout, wait)
        digest = sha256_of(partial.path)
        if expected.sha256 in (None, digest):
            return digest
        partial.clear()
        if not resumed:
            raise Refused(
                f"expected sha256 {expected.sha256}, received {digest}: another file under "
                "the same name, or damaged on its way"
            )
        resumed = False
        print(f"{url}: what was resumed has another checksum; starting over.")


def _transfer_patiently(url, partial, expected, retries, timeout, wait):
    failures = 0
    while True:
        before = partial.size
        try:
            return transfer(url, partial, expected, timeout)
        except Interrupted as error:
            failures = 1 if partial.size > before else failures + 1
            if failures > retries:
                raise Refused(f"{error}; given up after {failures} attempts") from error
            pause = min(max(error.seconds, 2.0 ** (failures - 1)), LONGEST_WAIT)
            print(f"{url}: {error}; trying again in {pause:.0f} s.")
            wait(pause)
