"""The application: URLs -> what answers them.

GET  /v1/models/NAME[/versions/N]            state of versions
GET  /v1/models/NAME[/versions/N]/metadata   signatures
POST /v1/models/NAME[/versions/N]:predict    predictions
POST /grow   /export                         see `labelling`
GET  /health   POST /setup  /predict  /webhook      see `label_studio`, where it is asked for
GET  /models   /healthz   /readyz   /metrics   /   and the page's files
"""

import asyncio
import contextlib
import functools
import http
from collections.abc import Iterable

from absl import logging
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from export.server import page
from export.server.guard import Guard
from export.server.label_studio import Backend
from export.server.label_studio_photos import Source
from export.server.labelling import FORMATS, Labelling
from export.server.limits import Limits
from export.server.loading import Loaded
from export.server.predicting import Predictor
from export.server.served import Served
from export.server.telemetry import Telemetry
from export.server.work import Work

EXPECTED = (
    "POST /v1/models/NAME:predict, /grow or /export, or GET /v1/models/NAME, "
    "/v1/models/NAME/metadata, /models, /healthz, /readyz, /metrics or / (the page)"
)


class Api:
    """Handlers of all URLs, and the watch over the models' folders."""

    def __init__(
        self, models: dict[str, Served], limits: Limits, label_studio: Source | None = None
    ):
        self.models, self.limits = models, limits
        self.telemetry = Telemetry()
        self.predictor = Predictor(limits, models, self.telemetry)
        self.work = Work(self.predictor.admission)
        self.labelling = Labelling(self.work)
        self.backend = None
        if label_studio:
            first = next(iter(self.models.values()))
            self.backend = Backend(self.work, first, label_studio)

    # === TF Serving's API ===

    async def predict(self, request: Request) -> Response:
        return await self.predictor.answer(request, self.loaded(request))

    async def status(self, request: Request) -> Response:
        model = self.model(request)
        states = sorted(model.states.items(), reverse=True)
        if "version" in request.path_params:
            states = [entry for entry in states if entry[0] == self.version(request)]
            if not states:
                raise _no_version(request)
        entries = [state.as_json(version) for version, state in states]
        return JSONResponse({"model_version_status": entries})

    async def metadata(self, request: Request) -> Response:
        loaded = self.loaded(request)
        spec = {"name": loaded.name, "signature_name": "", "version": str(loaded.version)}
        definitions = {"signature_def": loaded.definitions}
        return JSONResponse({"model_spec": spec, "metadata": definitions})

    def model(self, request: Request) -> Served:
        """The model of a URL. Raises HTTPException 404."""
        name = request.path_params["name"]
        if name not in self.models:
            raise HTTPException(
                404, f"Expected a model of {sorted(self.models)}, received {name[:100]!r}."
            )
        return self.models[name]

    def version(self, request: Request) -> int:
        """The version of a URL. Raises HTTPException 400."""
        text = request.path_params["version"]
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise HTTPException(400, f"Expected a version's number, received {text[:100]!r}.")
        return int(text)

    def loaded(self, request: Request) -> Loaded:
        """The version of a URL that is in memory. Raises HTTPException 404, 503."""
        model = self.model(request)
        if model.current is None:
            raise HTTPException(
                503,
                f"{model.name}: no version is loaded yet; see /v1/models/{model.name}.",
                {"Retry-After": "1"},
            )
        if "version" in request.path_params and self.version(request) != model.current.version:
            raise _no_version(request)
        return model.current

    # === The page, and those who look after the server ===

    async def overview(self, _) -> Response:
        """What the page needs to know."""
        loaded = [model.current for model in self.models.values() if model.current]
        models = [
            {
                "name": one.name,
                "version": one.version,
                "signatures": sorted(one.signatures),
                "description": one.description,
            }
            for one in loaded
        ]
        most = self.limits.max_request_bytes
        return JSONResponse({"models": models, "max_request_bytes": most, "formats": FORMATS})

    async def ready(self, _) -> Response:
        missing = [name for name, model in self.models.items() if model.current is None]
        return JSONResponse({"not_loaded": missing}, 503 if missing else 200)

    async def metrics(self, _) -> Response:
        telemetry = self.telemetry
        telemetry.waiting.set(self.predictor.batcher.waiting)
        telemetry.running.set(self.predictor.batcher.running)
        for model in self.models.values():
            version = model.current.version if model.current else 0
            telemetry.version.labels(model.name).set(version)
        content, media_type = telemetry.page()
        return Response(content, media_type=media_type)

    def routes(self) -> list[Route]:
        model = "/v1/models/{name}"
        routes = []
        for url in (f"{model}/versions/{{version}}", model):
            routes += [
                Route(f"{url}:predict", self.predict, methods=["POST"]),
                Route(f"{url}/metadata", self.metadata),
                Route(url, self.status),
            ]
        for url, content, media_type in page.files():
            answer = functools.partial(_file, content, media_type)
            routes.append(Route(url, answer))
        if self.backend:
            routes += [
                Route("/health", self.backend.health),
                *(
                    Route(f"/{name}", getattr(self.backend, name), methods=["POST"])
                    for name in ("setup", "predict", "webhook")
                ),
            ]
        return [
            *routes,
            Route("/grow", self.labelling.grow, methods=["POST"]),
            Route("/export", self.labelling.export, methods=["POST"]),
            Route("/models", self.overview),
            Route("/healthz", _healthy),
            Route("/readyz", self.ready),
            Route("/metrics", self.metrics),
        ]

    @contextlib.asynccontextmanager
    async def lifespan(self, _):
        """Watches the folders while the server runs; waits for what runs at its end."""
        watch = asyncio.create_task(self._watch())
        yield
        watch.cancel()
        for part in (self.predictor, self.work):
            await asyncio.to_thread(part.close)

    async def _watch(self):
        while True:
            for model in self.models.values():
                await model.refresh()
            await asyncio.sleep(self.limits.poll_s)


def _no_version(request):
    name, version = request.path_params["name"], request.path_params["version"][:100]
    return HTTPException(404, f"{name}: version {version!r} is not loaded.")


async def _file(content, media_type, _):
    return Response(content, media_type=media_type)


async def _healthy(_):
    return PlainTextResponse("ok")


async def _refused(request: Request, error: HTTPException) -> Response:
    text = error.detail
    if text == http.HTTPStatus(error.status_code).phrase:  # Starlette's own words
        text = f"{text}: {request.method} {request.url.path[:100]}. Expected {EXPECTED}."
    return JSONResponse({"error": text}, error.status_code, error.headers)


async def _failed(_, error: Exception) -> Response:
    logging.error("A request failed: %r", error)
    return JSONResponse({"error": "The server made a mistake; its log has more."}, 500)


def build(
    models: Iterable[Served],
    limits: Limits | None = None,
    hosts: Iterable[str] = (),
    label_studio: Source | None = None,
) -> Starlette:
    """The application.

    Args:
        label_studio: whose backend the first of the models is.
        hosts: names of this server besides localhost; see `Guard`.
    """
    named = {model.name: model for model in models}
    api = Api(named, limits or Limits(), label_studio)
    app = Starlette(
        routes=api.routes(),
        middleware=[Middleware(Guard, hosts=tuple(hosts))],
        exception_handlers={HTTPException: _refused, Exception: _failed},
        lifespan=api.lifespan,
    )
    app.state.api = api
    return app
