"""Rows of the table, and what their numbers say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from benchmarks.accelerators import rollouts
from semanticvla_jax.costs.printed import Unit, aligned
from semanticvla_jax.evaluation.report.comparison import compare
from semanticvla_jax.evaluation.report.runs import Run
from semanticvla_jax.evaluation.report.statistics import false_discovery_rates

NOTICEABLE = 1.05  # speed-ups below are none
LEVEL = 0.05  # of p-values, adjusted for the number of methods


@dataclasses.dataclass
class Row:
    """One policy with one method.

    Attributes:
      run: its episodes.
      tokens: image tokens that go through, mean per call; whole: without methods.
      flops: mean per call.
      latency: mean seconds per call.
    """

    policy: str
    method: str
    run: Run
    tokens: float
    whole: float
    flops: float
    latency: float

    @property
    def seconds_per_step(self) -> float:
        """Of the policy and what stands in for it, per control step of the robot."""
        busy = self.latency * rollouts.calls(self.run) + rollouts.skipped_seconds(self.run)
        return busy / rollouts.steps(self.run)

    def speed_up(self, plain: Row) -> float:
        return plain.seconds_per_step / self.seconds_per_step


def printed(rows: Sequence[Row], suites: Sequence[str]) -> str:
    """Of one policy; the first row is that without methods."""
    plain, flop = rows[0], Unit("FLOP", rows[0].flops, digits=3)
    head = ["method", *(f"{suite}, 95 %" for suite in suites), "calls/episode", "tokens"]
    head += [f"{flop.name}/call", "ms/call", "ms/step", "speed-up"]
    lines = [head]
    for row in rows:
        lines.append(
            [
                row.method,
                *(_rate(row.run, suite) for suite in suites),
                f"{rollouts.calls(row.run):.1f}",
                f"{row.tokens:.1f} of {row.whole:.0f}",
                flop(row.flops),
                f"{1e3 * row.latency:.2f}",
                f"{1e3 * row.seconds_per_step:.2f}",
                f"{row.speed_up(plain):.2f}",
            ]
        )
    return f"{plain.policy}\n{aligned(lines)}"


def _rate(run: Run, suite: str) -> str:
    successes, episodes, low, high = rollouts.success(run, suite)
    return f"{successes}/{episodes} ({low:.2f} to {high:.2f})"


def judged(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What each method is good for, compared with none on the same episodes, JSON-able."""
    plain, others = rows[0], rows[1:]
    changes = [compare(plain.run, row.run)["overall"] for row in others]
    adjusted = false_discovery_rates([change["p"] for change in changes])
    return [
        _judged(plain, row, *found) for row, *found in zip(others, changes, adjusted, strict=True)
    ]


def _judged(plain: Row, row: Row, change: dict[str, Any], p: float) -> dict[str, Any]:
    speed = row.speed_up(plain)
    quicker, worse = speed >= NOTICEABLE, change["change"] < 0 and p < LEVEL
    verdict = {
        (True, False): "helps",
        (True, True): "buys speed with success",
        (False, False): "does not help",
        (False, True): "does not help, and costs success",
    }[quicker, worse]
    return {
        "policy": row.policy,
        "method": row.method,
        "verdict": verdict,
        "speed_up": round(speed, 3),
        "calls": round(rollouts.calls(row.run) / rollouts.calls(plain.run), 3),
        "tokens": round(row.tokens / row.whole, 3),
        "flops": round(row.flops / plain.flops, 3),
        "change": round(change["change"], 3),
        "low": round(change["low"], 3),
        "high": round(change["high"], 3),
        "p": round(p, 4),
    }


def sentence(found: dict[str, Any]) -> str:
    """A judgement in words."""
    return (
        f"{found['policy']}, {found['method']}: {found['verdict']}. {found['speed_up']:.2f} times "
        f"as fast per step, with {100 * found['tokens']:.0f} % of the tokens, "
        f"{100 * found['flops']:.0f} % of the FLOPs per call and {100 * found['calls']:.0f} % of "
        f"the calls; success {100 * found['change']:+.0f} points "
        f"({100 * found['low']:+.0f} to {100 * found['high']:+.0f}, p = {found['p']:.3f})."
    )
