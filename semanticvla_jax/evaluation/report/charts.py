"""Where the marks of the page's charts go; the templates draw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from semanticvla_jax.evaluation.report.speed import shared_bins


def histograms(samples: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Of several samples on one logarithmic axis.

    Returns:
      {ticks: [{at, value}], rows: one per sample, {bars: [{at, width, height}], marks: [{name, at,
      value}]}}; positions and sizes in percent of the chart, marks at p50 and p99.
    """
    edges = shared_bins(samples)
    low, high = np.log(edges[[0, -1]])

    def at(value: float) -> float:
        return 100 * float(np.clip((np.log(max(value, 1e-9)) - low) / (high - low), 0, 1))

    def row(sample: Sequence[float]) -> dict[str, Any]:
        counts = np.histogram(sample, edges)[0]
        step = 100 / len(counts)
        bars = [
            {"at": index * step, "width": step, "height": 100 * count / counts.max()}
            for index, count in enumerate(counts.tolist())
            if count
        ]
        marks = [
            {"name": f"p{percent}", "at": at(value), "value": value}
            for percent in ((50, 99) if len(sample) else ())
            for value in [float(np.percentile(sample, percent))]
        ]
        return {"bars": bars, "marks": marks}

    ticks = [{"at": at(value), "value": value} for value in _ticks(edges[0], edges[-1])]
    return {"ticks": ticks, "rows": [row(sample) for sample in samples]}


def action_chart(kind: dict[str, Any]) -> dict[str, Any]:
    """Lines of one kind of action over time, in a box of T x 2 * `scale` units.

    Returns:
      {kind, unit, scale: the largest magnitude, lines: [{name, dim, points}]}; points are pairs
      as SVG wants them, y downwards from +scale.
    """
    largest = max((abs(value) for line in kind["lines"] for value in line["values"]), default=0)
    scale = max(0.01, round(largest * 1.05, 3))
    lines = [
        {
            "name": line["name"],
            "dim": line["dim"],
            "points": " ".join(
                f"{step},{scale - value:.4g}" for step, value in enumerate(line["values"])
            ),
        }
        for line in kind["lines"]
    ]
    return {"kind": kind["kind"], "unit": kind["unit"], "scale": scale, "lines": lines}


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, or only the powers if these are many."""
    powers = [10.0**power for power in range(-4, 8)]
    fine = [
        digit * power for power in powers for digit in (1, 2, 5) if low <= digit * power <= high
    ]
    coarse = [power for power in powers if low <= power <= high]
    return fine if len(fine) <= 6 else coarse
