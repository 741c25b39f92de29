"""Files that are whole or not there: written beside their place and renamed."""

import os
import pathlib


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes `content` to `path`; a killed or failed write leaves what was there before."""
    path = pathlib.Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, content: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, content.encode())
