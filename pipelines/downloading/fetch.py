"""One file over HTTP: resumed, retried, checked, and at its place only when it is right.

`_Resuming` brings the file to `.NAME.partial/`, pooch checks it there. `NAME.sha256` (for
`sha256sum -c`) is written at the end.
"""

import os
import pathlib
import shutil
import time
from collections.abc import Sequence

import pooch
import requests
from requests.adapters import HTTPAdapter, Retry

from crnet_tf.common import files
from crnet_tf.common.disk import check_space, sha256_of
from crnet_tf.common.locks import locked_beside
from crnet_tf.common.progress import Progress, megabytes
from pipelines.downloading import RETRIES

TIMEOUT = 60.0  # s without a byte
LONGEST_WAIT = 60.0  # s
_BLOCK = 1 << 16  # a stalled connection loses at most this
_WORTH_A_RETRY = (408, 425, 429, 500, 502, 503, 504)
_BROKEN = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)


def fetch(
    urls: Sequence[str],
    path: str | os.PathLike,
    sha256: str | None = None,
    size: int | None = None,
    retries: int = RETRIES,
    timeout: float = TIMEOUT,
) -> str:
    """Brings a file to `path` from the first of `urls` that has it; returns its sha256.

    A file that is at `path` already is checked and left alone.

    Args:
        urls: addresses of the same file, tried in order.
        path: where it goes; its folder is made.
        sha256: what it must be. Without it, the one of the first download, in `NAME.sha256`,
            is what later runs compare with.
        size: bytes it must have, where known.
        retries: attempts in a row that bring nothing new, per address, before it is given up.
        timeout: seconds without a byte that count as an interruption.

    Raises:
        FileExistsError: another file is at `path`; it is never overwritten.
        OSError: no address gave the file, or the disk has no room for it.
        RuntimeError: another process is fetching it.
    """
    path = pathlib.Path(path)
    record = path.with_name(f"{path.name}.sha256")
    with locked_beside(path, "is downloading"):
        if sha256 is None and record.exists():
            sha256 = record.read_text().split()[0]
        if path.exists():
            digest = _check_present(path, sha256)
        else:
            work = path.with_name(f".{path.name}.partial")
            download = _Resuming(work / "part", sha256, size, retries, timeout)
            try:
                _fetch_from_any(urls, work / path.name, download)
                files.move(work / path.name, path)
            finally:
                if not download.size_here:
                    shutil.rmtree(work, ignore_errors=True)
            digest = sha256 or sha256_of(path)
        files.write_text(record, f"{digest}  {path.name}\n")
    return digest


def _check_present(path, sha256):
    digest = sha256_of(path)
    if sha256 not in (None, digest):
        raise FileExistsError(
            f"{path}: expected sha256 {sha256}, received a file of {path.stat().st_size:,} "
            f"bytes, sha256 {digest}. It is never overwritten: move it away or delete it, and "
            "run again."
        )
    print(f"{path}: there already, {'as expected' if sha256 else 'no checksum is known'}.")
    return digest


def _fetch_from_any(urls, path, download):
    pooch.get_logger().setLevel("WARNING")
    known, problems = download.sha256 and f"sha256:{download.sha256}", []
    for url in urls:
        anew = download.size_here == 0
        while True:
            try:
                pooch.retrieve(url, known, path.name, path.parent, downloader=download)
                return
            except requests.RequestException as error:
                problems.append(f"\n  {url}: {error}")
                break
            except ValueError as error:  # another checksum
                problems.append(f"\n  {url}: {error}")
                if anew:
                    break
                anew = True  # what was resumed may have been of another file
    kept = f" {megabytes(download.size_here)} of it are kept." if download.size_here else ""
    raise OSError(
        f"{path.name}: expected it from one of {len(urls)} address(es), received it from none:"
        f"{''.join(problems)}\nTry again later, name other addresses (--urls, --mirror), or "
        f"bring the file here by other means.{kept}"
    )


class _Resuming:
    """A downloader of pooch that goes on where an earlier one ended, or an earlier process.

    Where no checksum is known it starts over: nothing would tell parts of two files apart.
    """

    def __init__(self, part, sha256, size, retries, timeout):
        self.sha256 = sha256
        self._part, self._size, self._retries, self._timeout = part, size, retries, timeout

    @property
    def size_here(self):
        return self._part.stat().st_size if self._part.exists() else 0

    def __call__(self, url, output_file, pooch):
        """Brings all of `url` to `output_file`."""
        failures = 0
        with _session(self._retries) as session:
            while self.size_here != self._size:
                before, response = self.size_here, self._ask(session, url)
                try:
                    self._receive(response)
                    break
                except _BROKEN as error:
                    failures = 1 if self.size_here > before else failures + 1
                    if failures > self._retries:
                        raise
                    print(f"{url}: {error}; going on.")
                    time.sleep(min(2.0 ** (failures - 1), LONGEST_WAIT))
        os.replace(self._part, output_file)

    def _ask(self, session, url):
        """The answer for what is missing."""
        if not self.sha256:
            self._part.unlink(missing_ok=True)
        there = self.size_here
        headers = {"Range": f"bytes={there}-"} if there else {}
        response = session.get(url, headers=headers, stream=True, timeout=self._timeout)
        part = response.headers.get("Content-Range", "")
        if response.status_code != 416 or not there:
            response.raise_for_status()
        elif part != f"bytes */{there}":  # of another file, and a longer one
            self._part.unlink()
            return self._ask(session, url)
        return response

    def _receive(self, response):
        if response.status_code == 416:
            return  # nothing is missing
        there = self.size_here if response.status_code == 206 else 0
        part = response.headers.get("Content-Range", "")
        if there and not part.startswith(f"bytes {there}-"):
            raise requests.ConnectionError(f"expected bytes from {there} on, received {part}")
        length = response.headers.get("Content-Length")
        total = there + int(length) if length else self._size
        self._check(response, total)
        check_space(self._part.parent, (total or 0) - there, response.url)
        with (
            open(self._part, "ab" if there else "wb") as file,
            Progress(pathlib.Path(response.url).name, total, there, megabytes) as progress,
        ):
            for block in response.iter_content(_BLOCK):
                file.write(block)
                progress.add(len(block))
                if total is not None and file.tell() > total:
                    break  # of another file, as its checksum will say

    def _check(self, response, total):
        wanted = received = ""
        if self._size not in (None, total):
            wanted, received = f"{self._size:,} bytes", f"{total:,}: another version, or a page"
        elif not self.sha256 and "text/html" in response.headers.get("Content-Type", ""):
            wanted, received = "a file", "a web page"
        elif total is None and "Transfer-Encoding" not in response.headers:
            # A broken transfer could not be told from a whole one.
            wanted, received = "the length of the file (Content-Length)", "none"
        if wanted:
            raise requests.RequestException(f"expected {wanted}, received {received}")


def _session(retries):
    """Asks again, after a growing pause, where nobody answers or the answer may change."""
    session = requests.Session()
    session.headers.update({"User-Agent": "crnet-tf", "Accept-Encoding": "identity"})
    retry = Retry(
        retries, backoff_factor=1, backoff_max=LONGEST_WAIT, status_forcelist=_WORTH_A_RETRY
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session
