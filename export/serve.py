"""Serves exported models on this machine: TF Serving's REST API, and a web page.

    python -m export.serve --model=models/crnet

Then open http://127.0.0.1:8501/, or ask as one asks TF Serving: POST
/v1/models/crnet:predict. `--model` is the folder above the numbered versions, several with
commas, under other names as NAME=FOLDER. The newest version serves; a newer one that appears
is loaded, then takes over. SIGTERM or Ctrl+C: what was received is still answered.
"""

import os
import signal

from absl import flags, logging

from crnet_tf.common import cli, fields
from crnet_tf.common.errors import BlockedError
from export.server.limits import Limits


def define_flags():
    text = flags.DEFINE_string
    flags.DEFINE_list(
        "model", None, "FOLDER or NAME=FOLDER of models, with commas.", required=True
    )
    flags.DEFINE_integer("version", None, "Version to serve; default: the newest.", 1)
    text("host", "127.0.0.1", "Address to listen on; 0.0.0.0: all, for other machines.")
    flags.DEFINE_integer("port", 8501, "Port to listen on; 0: any.", 0, 65535)
    flags.DEFINE_list("allowed_hosts", [], "Names, besides localhost, this server is asked by.")
    text(
        "label_studio",
        None,
        "Address of a Label Studio whose ML backend the first model is, such as "
        "http://localhost:8080; LABEL_STUDIO_API_KEY has its token.",
    )
    fields.define_flags(Limits)


def main():
    try:
        from export.server import app, label_studio_photos, starting
    except ModuleNotFoundError as missing:
        raise BlockedError(
            f"expected the packages of the server, received none ({missing}). "
            "Install the extra: pip install 'crnet-tf[serve]'"
        ) from None
    args = flags.FLAGS
    listener = starting.bound_socket(args.host, args.port)
    models = starting.served_models(args.model, args.version)
    limits = fields.from_flags(Limits, {}, args)
    logging.set_verbosity(max(args.verbosity, logging.INFO))
    # uvicorn stops gracefully, then raises the signal again: that is no error.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    source = None
    if args.label_studio:
        token = os.environ.get("LABEL_STUDIO_API_KEY", "")
        source = label_studio_photos.Source(args.label_studio, token)
    hosts = [args.host, *args.allowed_hosts]
    application = app.build(models, limits, hosts, source)
    serving = starting.server(application, args.host, args.port, limits)
    names, port = ", ".join(model.name for model in models), listener.getsockname()[1]
    host = f"[{args.host}]" if ":" in args.host else args.host
    print(f"Serving {names} on http://{host}:{port}/ (Ctrl+C ends)", flush=True)
    serving.run([listener])


def _stop(*_):
    raise SystemExit(0)


if __name__ == "__main__":
    cli.run(main, define_flags)
