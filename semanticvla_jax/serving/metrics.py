"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """One server's counters, in a registry of their own."""

    def __init__(self):
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

        def make(kind, name, text, labels=(), **options):
            name = f"semanticvla_{name}"
            return kind(name, text, labels, registry=self._registry, **options)

        self.requests = make(Counter, "requests", "Requests answered, by outcome", ("outcome",))
        self.request_seconds = make(
            Histogram, "request_seconds", "From message to answer", buckets=_SECONDS
        )
        self.inference_seconds = make(
            Histogram, "inference_seconds", "Computation of a batch", buckets=_SECONDS
        )
        self.batch_size = make(
            Histogram, "batch_size", "Requests in a batch, padding excluded", buckets=_SIZES
        )
        self.waiting = make(Gauge, "waiting", "Requests being prepared or waiting")
        self.clients = make(Gauge, "clients", "Open connections")
        self.refused = make(Counter, "refused_connections", "By reason", ("reason",))
        self.ready = make(Gauge, "ready", "1 if a compiled policy serves and nothing drains")
        self.loads = make(Counter, "policy_loads", "Policies loaded, by outcome", ("outcome",))
        self.policy = make(Gauge, "policy_info", "1 for the policy that serves", ("policy",))

    def batch(self, size: int, seconds: float) -> None:
        self.batch_size.observe(size)
        self.inference_seconds.observe(seconds)

    def serves(self, label: str) -> None:
        self.policy.clear()
        self.policy.labels(label).set(1)

    def text(self) -> str:
        """Prometheus's text format."""
        return generate_latest(self._registry).decode()
