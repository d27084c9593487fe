"""Latency and throughput of a run, from the times in its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from semanticvla_jax.evaluation.report.runs import Run


def speed(run: Run) -> dict[str, Any]:
    """Times of finished episodes; None for what the rows do not tell.

    Returns:
      queries; queries_per_episode; tokens: mean number of image tokens that got through an
      accelerated policy, per query; latency_ms, render_ms: {p50, p90, p99, mean, max} per query
      (latency_ms: the policy's answer including its queue); batch: mean number of queries answered
      together; reset_seconds, episode_seconds: means per episode; steps_per_second and
      episodes_per_minute: of one simulator process while it runs episodes.
    """
    rows = run.finished
    seconds = _all(rows, "seconds")
    total = sum(seconds)
    return {
        "queries": len(latencies(run)),
        "queries_per_episode": _mean([len(row["latency_ms"]) for row in rows]),
        "tokens": _mean([count for row in rows for count in row.get("tokens", ())]),
        "latency_ms": _percentiles(latencies(run)),
        "render_ms": _percentiles([ms for row in rows for ms in row["render_ms"]]),
        "batch": _mean([size for row in rows for size in row["batch"]]),
        "reset_seconds": _mean(_all(rows, "reset_seconds")),
        "episode_seconds": _mean(seconds),
        "steps_per_second": round(sum(row["steps"] for row in rows) / total, 2) if total else None,
        "episodes_per_minute": round(60 * len(seconds) / total, 2) if total else None,
    }


def latencies(run: Run) -> list[float]:
    return [ms for row in run.finished for ms in row["latency_ms"]]


def shared_bins(samples: Sequence[Sequence[float]], bins: int = 48) -> np.ndarray:
    """Edges f64[bins + 1] that hold all positive samples, evenly spaced on a logarithmic axis."""
    positive = [value for sample in samples for value in sample if value > 0] or [1.0]
    low, high = min(positive) / 1.05, max(positive) * 1.05
    return np.geomspace(low, high, bins + 1)


def _all(rows, field: str) -> list[float]:
    return [row[field] for row in rows if row.get(field) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 3) if values else None


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    p50, p90, p99 = np.percentile(values, (50, 90, 99)).tolist()
    found = {"p50": p50, "p90": p90, "p99": p99, "mean": float(np.mean(values)), "max": max(values)}
    return {name: round(value, 2) for name, value in found.items()}
