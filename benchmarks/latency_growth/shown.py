"""Measured points as a table, a picture and a last line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.latency_growth.measure import Measured
from benchmarks.latency_growth.points import AXES
from semanticvla_jax.costs.printed import aligned

HEAD = ("", "positions", "GFLOP", "median ms", "p99 ms", "per observation", "roofline ms")
MEASURED, ROOFLINE = "#c1453d", "#3b6ea5"


def by_axis(measured: Sequence[Measured]) -> Iterator[tuple[str, list[Measured]]]:
    """(what is varied, its points) of each axis that was measured."""
    for axis, (name, _) in AXES.items():
        if found := [one for one in measured if one.point.axis == axis]:
            yield name, found


def table(measured: Sequence[Measured]) -> str:
    """Aligned rows."""
    rows = [HEAD]
    for name, found in by_axis(measured):
        for one in found:
            times = one.median, one.p99, one.median / one.point.batch, one.least
            shown = [f"{1e3 * seconds:.2f}" for seconds in times]
            size = f"{one.flops / 1e9:,.1f}"
            rows.append((f"{name}: {one.point.value}", str(one.positions), size, *shown))
    return aligned(rows)


def last_line(measured: Sequence[Measured]) -> str:
    """For each axis, how many times as long the largest value takes as the smallest."""
    growth = {}
    for _, found in by_axis(measured):
        ordered = sorted(found, key=lambda one: one.point.value)
        growth[found[0].point.axis] = ordered[-1].median / ordered[0].median
    return " ".join(f"{axis}={value:.2f}" for axis, value in growth.items())


def save_picture(measured: Sequence[Measured], title: str, path: Path) -> None:
    """A plot for each axis: medians with whiskers up to p99, and the roofline."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    panels = list(by_axis(measured))
    figure = Figure(figsize=(3.4 * len(panels), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, found) in zip(
        figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True
    ):
        values = [one.point.value for one in found]
        medians = [1e3 * one.median for one in found]
        upwards = [1e3 * (one.p99 - one.median) for one in found]
        whiskers = [[0] * len(found), upwards]
        axes.errorbar(values, medians, whiskers, marker="o", color=MEASURED, label="median, p99")
        least = [1e3 * one.least for one in found]
        axes.plot(values, least, "--", color=ROOFLINE, label="roofline")
        axes.set_xscale("log", base=2)
        axes.set_xticks(values)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_ylim(bottom=0)
        axes.set_xlabel(name, fontsize=8)
        axes.tick_params(labelsize=7)
    figure.axes[0].legend(fontsize=7)
    figure.supylabel("ms per query", fontsize=8)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110)
