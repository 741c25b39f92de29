"""What Prometheus is told of the server."""

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
QUERIES = (1, 2, 4, 8, 16, 32, 64)
OTHER = "other"  # names that only clients know: they must not fill the memory


class Telemetry:
    """Counters of one server."""

    def __init__(self):
        self.registry = prometheus_client.CollectorRegistry()
        labels = ["model", "signature"]
        self.requests = Counter(
            "crnet_requests",
            "Requests for predictions by status code.",
            [*labels, "code"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "crnet_request_seconds",
            "From a request's head to its answer.",
            labels,
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "crnet_batch_queries",
            "Queries in a call of TensorFlow.",
            labels,
            buckets=QUERIES,
            registry=self.registry,
        )
        self.waiting = self._gauge("crnet_waiting_requests", "Requests that wait.")
        self.running = self._gauge("crnet_running_requests", "Requests that run.")
        self.version = self._gauge("crnet_loaded_version", "Version that serves.", ["model"])

    def _gauge(self, name, text, labels=()):
        return Gauge(name, text, labels, registry=self.registry)

    def page(self) -> tuple[bytes, str]:
        """The text for Prometheus, and its media type."""
        return (
            prometheus_client.generate_latest(self.registry),
            prometheus_client.CONTENT_TYPE_LATEST,
        )
