"""What the service counts, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
SECONDS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one service, apart from those of the process' other libraries."""

    def __init__(self, pictures_waiting: Callable[[], float]) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("trg_requests", "Requests of poses", ["status"], registry=registry)
        self.seconds = Histogram(
            "trg_request_seconds",
            "From a request's head to its answer, of those that succeeded",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.batches = Histogram(
            "trg_batch_pictures",
            "Pictures per batch",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self.faces = Counter("trg_faces", "Faces found", registry=registry)
        self.failures = Counter(
            "trg_picture_failures", "Pictures without a result", registry=registry
        )
        Gauge(
            "trg_queue_pictures", "Accepted and not yet answered", registry=registry
        ).set_function(pictures_waiting)

    def text(self) -> bytes:
        """Return all counters."""
        return generate_latest(self._registry)
