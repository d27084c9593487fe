"""What was measured, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.latency.contest import OURS
from benchmarks.latency.rounds import Times, ratio
from benchmarks.latency.worker import Worker
from benchmarks.roofline import Query
from semanticvla_jax.costs.chips import Chip
from semanticvla_jax.costs.printed import aligned


def heading(name: str, precision: str, query: Query, workers: Mapping[str, Worker]) -> str:
    """What is compared, and where."""
    tokens, abouts = query.tokens, [worker.about for worker in workers.values()]
    machines = "; ".join(f"{about['version']} on {about['device']}" for about in abouts)
    return (
        f"{name}, {precision}; {machines}\n"
        f"{tokens.sequence} positions: {tokens.images} of images, {tokens.prompt} of the prompt, "
        f"{tokens.actions} of actions; {query.parameters / 1e6:,.1f} M parameters\n"
        f"a query of an instruction already known: {query.flops / 1e9:,.1f} GFLOP and "
        f"{query.weight_bytes / 1e9:,.3f} GB of weights"
    )


def ceilings(measured: Mapping[str, Mapping[str, float]]) -> str:
    """Of every side; the roofline takes the best."""
    sides = (
        f"{side}: copy {rates['copy'] / 1e9:,.1f} GB/s, product {rates['product'] / 1e12:,.3f} "
        "TFLOP/s"
        for side, rates in measured.items()
    )
    return "ceilings, " + "; ".join(sides)


def bound(query: Query, chip: Chip) -> str:
    """The roofline, stage by stage."""
    stages = (
        f"{stage.name} {1e3 * stage.seconds(chip):.3g} ({stage.bound(chip)})"
        for stage in query.stages()
    )
    return f"roofline {1e3 * query.seconds(chip):.3g} ms: {', '.join(stages)}"


def queries(times: Mapping[str, Times], least: float) -> str:
    """A row for each contestant; in brackets, quarters of the rounds' ratios."""
    ours = times[OURS]
    rows = [("ms per query", "median", "p99", "least", "x roofline", "x ours")]
    for name, measured in times.items():
        figures = (measured.median, measured.p99, measured.all.min())
        shown = [f"{1e3 * figure:.2f}" for figure in figures]
        slower = "1" if measured is ours else str(ratio(measured, ours))
        rows.append((name, *shown, f"{measured.median / least:.2f}", slower))
    return aligned(rows)


def stages(seconds: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Medians, a column for each side; and their sum without the instruction's part."""
    names = list(dict.fromkeys(stage for side in seconds.values() for stage in side))
    medians = {
        side: {name: 1e3 * float(np.median(found)) for name, found in stages.items()}
        for side, stages in seconds.items()
    }
    rows = [("ms per stage, each alone", *seconds)]
    for name in names:
        shown = (f"{side[name]:.2f}" if name in side else "-" for side in medians.values())
        rows.append((name, *shown))
    sums = (sum(side.values()) - side.get("instruction", 0) for side in medians.values())
    return aligned([*rows, ("all but instruction", *(f"{value:.2f}" for value in sums))])


def last_line(times: Mapping[str, Times], least: float) -> str:
    """The quickest other's median over ours, where there is one; ours over the bound."""
    ours = times[OURS].median
    others = [measured.median for name, measured in times.items() if name != OURS]
    shown = [f"ratio={min(others) / ours:.2f}"] if others else []
    return " ".join([*shown, f"roofline_ratio={ours / least:.2f}"])
