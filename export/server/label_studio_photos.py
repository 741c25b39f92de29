"""What a backend asks of Label Studio: a project's annotations, and photos."""

import pathlib
import tempfile
import urllib.parse
from typing import NamedTuple

import requests

from crnet_tf.annotations.listing import MALFORMED
from crnet_tf.common.errors import BlockedError, InputError
from crnet_tf.images import photos, png_files
from crnet_tf.images.orientation import upright_size

TIMEOUT_S = 60
MOST_BYTES = 2**26  # of a photo


class Photo(NamedTuple):
    """A photo of a task: a file's name for errors, its upright content, (H, W) px."""

    path: pathlib.Path
    content: bytes
    size: tuple[int, int]


class Source:
    """A Label Studio.

    Args:
        url: where it is. token: of its API, a legacy token or a personal access token.
    """

    def __init__(self, url: str, token: str):
        self.url, self._token = url.rstrip("/") + "/", token

    def annotated(self, project: int) -> list[dict]:
        """The tasks that somebody annotated, the newest first: `data`, and the `result` of the
        last annotation.

        Raises:
            BlockedError: Label Studio does not answer, or refuses.
        """
        tasks = self._get(f"api/projects/{project}/export?exportType=JSON").json()
        try:
            found = [(_last(task), task["data"]) for task in tasks]
            found = [(one["updated_at"], one["result"], data) for one, data in found if one]
        except MALFORMED as error:
            raise BlockedError(
                f"{self.url}: expected tasks with annotations, received others ({error!r})."
            ) from error
        found.sort(key=lambda one: one[0], reverse=True)
        return [{"data": data, "result": result} for _, result, data in found]

    def photo(self, address: str) -> Photo:
        """The photo of a task, upright.

        Raises:
            InputError: it is not one that Label Studio serves, or is no photo. BlockedError:
                Label Studio does not answer.
        """
        place = urllib.parse.urljoin(self.url, address)
        if not place.startswith(self.url):
            raise InputError(
                f"Expected photos that Label Studio serves ({self.url}), received "
                f"{place[:200]!r}. Upload them, or add their folder as local storage."
            )
        content = self._get(place.removeprefix(self.url)).content
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "photo"
            path.write_bytes(content)
            try:
                upright, size = photos.photo_bytes(path, png_files.FAST)[0], upright_size(path)
            except InputError as error:
                raise InputError(str(error).replace(str(path), place)) from None
        return Photo(pathlib.Path(address), upright, size)

    def _get(self, path):
        try:
            answer = requests.get(self.url + path, headers=self._headers(), timeout=TIMEOUT_S)
            answer.raise_for_status()
        except requests.RequestException as error:
            raise BlockedError(
                f"Expected an answer of Label Studio ({self.url}), received: {error}. Check "
                "--label_studio and the token in LABEL_STUDIO_API_KEY."
            ) from error
        if len(answer.content) > MOST_BYTES and not path.startswith("api/"):
            raise InputError(f"{path}: expected at most {MOST_BYTES} bytes, received more.")
        return answer

    def _headers(self):
        if self._token.count(".") != 2:
            return {"Authorization": f"Token {self._token}"}
        # A personal access token is exchanged for one that lasts minutes.
        answer = requests.post(
            self.url + "api/token/refresh", json={"refresh": self._token}, timeout=TIMEOUT_S
        )
        answer.raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access']}"}


def _last(task):
    """The annotation of a task that was changed last; None where there is none."""
    given = [one for one in task["annotations"] if not one.get("was_cancelled")]
    return max(given, key=lambda one: one["updated_at"], default=None)
