"""The web page's files, read once; nothing of a request's path reaches the disk."""

import pathlib

MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
INDEX = "index.html"


def files() -> list[tuple[str, bytes, str]]:
    """URL, content and media type of each."""
    folder = pathlib.Path(__file__).parent
    return [
        (
            "/" if path.name == INDEX else f"/{path.name}",
            path.read_bytes(),
            MEDIA_TYPES[path.suffix],
        )
        for path in sorted(folder.iterdir())
        if path.suffix in MEDIA_TYPES
    ]
