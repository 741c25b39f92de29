"""One HTTP request for the part of a file that is still missing."""

import dataclasses
import http.client
import json
import os
import pathlib
import re
import urllib.error
import urllib.request

from crnet_tf.common import files
from crnet_tf.common.disk import check_space
from crnet_tf.common.progress import Progress, megabytes

_BLOCK = 1 << 16  # a stalled connection loses at most this
_WORTH_A_RETRY = (408, 425, 429, 500, 502, 503, 504)


class Interrupted(Exception):
    """The transfer stopped early; going on may help. `seconds`: what the server asked for."""

    def __init__(self, message, seconds=0.0):
        super().__init__(message)
        self.seconds = seconds


class Refused(Exception):
    """This address does not give the file, however often it is asked."""


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a file must be; None where nobody has said."""

    size: int | None = None  # bytes
    sha256: str | None = None


class Partial:
    """What has arrived of the file that will be at `path`, and from where."""

    def __init__(self, path: pathlib.Path):
        self.path = path.with_name(f".{path.name}.partial")
        self._source_path = path.with_name(f".{path.name}.partial.json")
        try:
            source = json.loads(self._source_path.read_bytes())
            self.url, self.validator = source["url"], source["validator"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            self.url, self.validator = None, None

    @property
    def size(self) -> int:
        """Bytes here."""
        return self.path.stat().st_size if self.path.exists() else 0

    def comes_from(self, url: str, validator: str | None) -> None:
        """Notes the address, and the ETag or date of the file there."""
        self.url, self.validator = url, validator
        content = json.dumps({"url": url, "validator": validator})
        files.write_text(self._source_path, content + "\n")

    def clear(self) -> None:
        """Forgets all of it."""
        self.path.unlink(missing_ok=True)
        self._source_path.unlink(missing_ok=True)
        self.url, self.validator = None, None

    def move_to(self, path: pathlib.Path) -> None:
        """It is whole: puts it at its place."""
        os.replace(self.path, path)
        self._source_path.unlink(missing_ok=True)


def transfer(url: str, partial: Partial, expected: Expected, timeout: float) -> None:
    """Asks for what `partial` lacks and appends it; returns when it is whole.

    Raises:
        Interrupted: it ended early; what came is in `partial`.
        Refused: the address has no such file.
        OSError: it cannot be written.
    """
    if expected.size is not None and partial.size > expected.size:
        partial.clear()
    if partial.size and partial.size == expected.size:
        return
    with _ask(url, partial, timeout) as response:
        if response.status == 416:
            return _check_416(response, partial)
        start, total = _extent(response, partial, expected)
        skip = _skip(response, start, partial, url, expected)
        check_space(partial.path.parent, (total or 0) - partial.size, url)
        with open(partial.path, "ab") as file:
            _copy(response, file, skip, total)
    if total is not None and partial.size > total:
        size = partial.size
        partial.clear()
        raise Refused(f"expected {total:,} bytes, received {size:,}: another file")
    if total is not None and partial.size < total:
        raise Interrupted(f"the connection ended after {partial.size:,} of {total:,} bytes")


def _ask(url, partial, timeout):
    headers = {"User-Agent": "crnet-tf", "Accept-Encoding": "identity"}
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
        if partial.validator and partial.url == url:
            headers["If-Range"] = partial.validator
    try:
        return urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout
        )
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error
        with error:
            message = f"HTTP {error.code} {error.reason}"
            if error.code in _WORTH_A_RETRY:
                asked = error.headers.get("Retry-After", "")
                raise Interrupted(message, float(asked) if asked.isdigit() else 0) from error
            raise Refused(message) from error
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(_reason(error)) from error


def _reason(error):
    return str(getattr(error, "reason", "") or error) or type(error).__name__


def _check_416(response, partial):
    """The server has nothing after what we have: it is whole, or of another file."""
    if response.headers.get("Content-Range") == f"bytes */{partial.size}":
        return
    partial.clear()
    raise Interrupted("the server's file is shorter than what was here; starting over")


def _extent(response, partial, expected):
    """(first byte that comes, bytes of the whole file or None)."""
    length = response.headers.get("Content-Length", "")
    start, total = 0, int(length) if length.isdigit() else None
    if response.status == 206:
        given = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "")
        )
        if not given or int(given[1]) != partial.size:
            partial.clear()
            raise Interrupted("the server sent another part than asked for; starting over")
        start, total = int(given[1]), int(given[2]) if given[2] != "*" else expected.size
    if None not in (total, expected.size) and total != expected.size:
        raise Refused(
            f"expected a file of {expected.size:,} bytes, received one of {total:,}: another "
            "version, or the page of a proxy or login"
        )
    if expected.size is None and response.headers.get_content_type() == "text/html":
        raise Refused("expected a file, received a web page (text/html)")
    if total is None and expected.size is None and not response.chunked:
        raise Refused(
            "expected the length of the file (Content-Length), received none: a broken "
            "transfer could not be told from a whole one"
        )
    return start, total if total is not None else expected.size


def _skip(response, start, partial, url, expected):
    """How many of the coming bytes are here already; notes where the others come from."""
    tag = response.headers.get("ETag", "")
    validator = tag if tag.startswith('"') else response.headers.get("Last-Modified")
    unchanged = validator is not None and validator == partial.validator
    if partial.size and not unchanged:
        if start == 0:
            partial.clear()
        elif not expected.sha256 and partial.validator:
            partial.clear()
            raise Interrupted("the file has changed there; starting over")
    skip = partial.size - start
    partial.comes_from(url, validator)
    return skip


def _copy(response, file, skip, total):
    name = pathlib.PurePosixPath(response.url).name
    meter = Progress(name, total, file.tell(), megabytes)
    while True:
        try:
            block = response.read(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise Interrupted(_reason(error)) from error
        if not block:
            break
        kept = block[skip:]
        skip -= len(block) - len(kept)
        file.write(kept)
        meter.add(len(kept))
        if total is not None and file.tell() > total:
            break  # more than there can be: the caller refuses it
