"""The report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from semanticvla_jax.evaluation.report.charts import action_chart, histograms
from semanticvla_jax.evaluation.report.episodes import embed_films, further_films, make_cards
from semanticvla_jax.evaluation.report.media import Budget
from semanticvla_jax.evaluation.report.rerun import UNKNOWN_CHECKPOINT
from semanticvla_jax.evaluation.report.runs import Run, placement_kind, placement_list
from semanticvla_jax.evaluation.report.speed import latencies
from semanticvla_jax.evaluation.report.traces import embed_traces

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
MOST_ERRORS = 100  # listed one by one


@dataclass(frozen=True)
class Page:
    """The page, and what did not fit.

    Attributes:
      html: the page.
      linked: films that lie beside it, as links.
      omitted: traces that it does not show.
    """

    html: str
    linked: int
    omitted: int


def render(
    runs: Sequence[Run], numbers: dict[str, Any], path: Path, megabytes: float, title: str
) -> Page:
    """The page of some runs.

    Args:
      numbers: `numbers.numbers` of the same runs.
      path: where the page will lie, for links to films.
      megabytes: that films, pictures and traces may take in it.
      title: its heading.
    """
    budget = Budget(megabytes)
    failures = make_cards(runs, False, budget, path)
    traces, omitted = embed_traces(runs, budget)
    successes = make_cards(runs, True, budget, path)
    embed_films([*failures, *successes], budget)
    further = further_films(runs, [*failures, *successes], path)
    context = {
        "title": title,
        "numbers": numbers,
        "runs": numbers["runs"],
        "kinds": [{placement_kind(row) for row in run.rows} for run in runs],
        "failures": failures,
        "any_failure": any(run.failures for run in runs),
        "successes": successes,
        "further": further,
        "errors": [
            (number, error, row.get("traceback"))
            for number, run in enumerate(runs)
            for error, row in zip(numbers["runs"][number]["errors"], run.errors, strict=True)
        ],
        "most_errors": MOST_ERRORS,
        "histogram": histograms([latencies(run) for run in runs]),
        "traces": traces,
        "charts": [[action_chart(kind) for kind in t.actions] for t in traces],
        "omitted": omitted,
        "placement_list": placement_list,
        "unknown_checkpoint": UNKNOWN_CHECKPOINT,
    }
    linked = sum(not card.video for card in (*failures, *successes))
    html = _TEMPLATES.get_template("page.html").render(context)
    return Page(html, linked + len(further), omitted)
