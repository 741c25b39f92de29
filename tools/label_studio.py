"""Starts a Label Studio and our backend of it, annotates photos, and asks for the next one.

    python tools/label_studio.py --environment=lsenv --photos=cats --model=models/crnet

`lsenv` is a virtual environment with label-studio (1.23 was tested); `cats` holds photos with
masks beside them (`a.jpg`, `a_mask.png`). All but the last are uploaded and annotated through
Label Studio's API, as a person would. Then the last is opened: the mask that it gets from the
backend is compared with its own. Label Studio's database is in a folder that is removed at the
end, or in --data, where it need not be made anew for the next time.
"""

import contextlib
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
import requests
from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from crnet_tf.annotations import brush
from crnet_tf.annotations.answers import objects
from crnet_tf.annotations.label_studio import KINDS, regions
from crnet_tf.data.labelled_folder import read_class

CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="label" toName="image"><Label value="thing"/></BrushLabels></View>"""
PATIENCE_S = 1800  # the first start of Label Studio prepares its database
STOPPED_S = 300


class Studio:
    """Label Studio's API."""

    def __init__(self, url: str, token: str):
        self.url, self.headers = url, {"Authorization": f"Token {token}"}

    def ask(self, method: str, path: str, **content):
        """The JSON of an answer. Raises requests.HTTPError."""
        answer = requests.request(
            method, f"{self.url}/api/{path}", headers=self.headers, timeout=600, **content
        )
        answer.raise_for_status()
        return answer.json()

    def new_project(self) -> int:
        """A project with one label."""
        content = {"title": "things", "label_config": CONFIG}
        return self.ask("POST", "projects", json=content)["id"]

    def upload(self, project: int, path: pathlib.Path) -> int:
        """A photo as a task."""
        with path.open("rb") as file:
            sent = {"file": (path.name, file, "image/jpeg")}
            self.ask("POST", f"projects/{project}/import", files=sent)
        return max(one["id"] for one in self.ask("GET", f"tasks?project={project}")["tasks"])

    def annotate(self, task: int, mask: np.ndarray) -> None:
        """A mask uint8 [H,W] as somebody's annotation."""
        sure = (mask == 1)[None].astype(np.float32)
        found = objects(np.uint8(mask == 1), sure, ("thing",), connected=False)
        result = regions(found, KINDS["masks"])
        self.ask("POST", f"tasks/{task}/annotations", json={"result": result})


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], url: str, log: pathlib.Path, **environment):
    """A process that answers at `url` within the block."""
    with log.open("w") as said:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=said, stderr=said
        )
        try:
            await_answer(process, url, log)
            yield
        finally:
            process.terminate()
            process.wait(STOPPED_S)


def await_answer(process: subprocess.Popen, url: str, log: pathlib.Path) -> None:
    """Raises RuntimeError where the process ends before it answers, or takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=10).ok:
                return
        time.sleep(1)
    raise RuntimeError(f"{url} does not answer: {log.read_text()[-2000:]}")


@contextlib.contextmanager
def label_studio(environment: str, folder: pathlib.Path):
    """A Label Studio with a database of its own."""
    port, token = free_port(), secrets.token_hex(20)
    url = f"http://127.0.0.1:{port}"
    command = [
        f"{environment}/bin/label-studio", "start", "--no-browser", "--port", str(port),
        "--internal-host", "127.0.0.1", "--username", f"{token[:8]}@example.com",
        "--password", secrets.token_hex(8), "--user-token", token,
    ]  # fmt: skip
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "False",
        "ML_BLOCK_LOCAL_IP": "false",  # the backend is on this machine
        "SSRF_PROTECTION_ENABLED": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
    }
    with running(command, f"{url}/health", folder / "studio.log", **settings):
        yield Studio(url, token), token


def proposed(studio: Studio, task: int) -> np.ndarray:
    """The mask bool [H,W] that a task has when somebody opens it."""
    found = studio.ask("GET", f"tasks/{task}")["predictions"]
    if not found or not found[-1]["result"]:
        raise RuntimeError(f"expected a mask for the last photo, received {found}.")
    (region,) = found[-1]["result"]
    size = region["original_height"], region["original_width"]
    return brush.decoded(region["value"]["rle"], *size)


def main(_):
    args = flags.FLAGS
    folder = pathlib.Path(args.photos)
    *examples, last = read_class(folder)
    with (
        tempfile.TemporaryDirectory() as work,
        label_studio(args.environment, pathlib.Path(args.data or work)) as (studio, token),
    ):
        url = f"http://127.0.0.1:{free_port()}"
        command = [
            sys.executable, "-m", "export.serve", f"--model={args.model}",
            f"--port={url.rpartition(':')[2]}", f"--label_studio={studio.url}",
        ]  # fmt: skip
        log = pathlib.Path(work) / "backend.log"
        with running(command, f"{url}/readyz", log, LABEL_STUDIO_API_KEY=token):
            project = studio.new_project()
            studio.ask("POST", "ml", json={"project": project, "url": url, "title": "CRNet-TF"})
            for photo in examples:
                task = studio.upload(project, pathlib.Path(photo.name))
                studio.annotate(task, photo.mask)
                print(f"Annotated: {photo.name}", flush=True)
            mask = proposed(studio, studio.upload(project, pathlib.Path(last.name)))
    wanted, counts = last.mask == 1, last.mask != 255
    iou = (mask & wanted).sum() / ((mask | wanted) & counts).sum()
    print(f"Proposed: {last.name}, IoU {iou:.3f}")


def define_flags():
    text = flags.DEFINE_string
    text("environment", None, "Virtual environment of Label Studio.", required=True)
    text("photos", None, "Folder of photos and masks.", required=True)
    text("model", None, "Folder of an exported few-shot model.", required=True)
    text("data", None, "Folder for Label Studio's database; default: one that is removed.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
