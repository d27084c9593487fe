"""Ticks by hand, on a clock that only sleeping and working move."""

from __future__ import annotations

import pytest

from semanticvla_jax.client.pacing import Rate


class Time:
    def __init__(self):
        self.now, self.slept = 100.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def ticks(works: list[float]) -> tuple[list[float], int]:
    """When steps that take so long end at 10 Hz (s from the start), and the ticks they miss."""
    time = Time()
    rate, ends = Rate(10, clock=time, sleep=time.sleep), []
    for work in works:
        time.now += work
        rate.wait()
        ends.append(time.now - 100)
    return ends, rate.missed


@pytest.mark.parametrize(
    "works, ends, missed",
    [
        ([0.02, 0.05, 0.0], [0.1, 0.2, 0.3], 0),
        ([0.13, 0.02, 0.02], [0.13, 0.2, 0.3], 0),  # late: at once, then on schedule again
        ([0.35, 0.02, 0.02], [0.35, 0.4, 0.5], 2),  # whole periods late: 0.2 and 0.3 never happen
    ],
)
def test_ticks(works, ends, missed):
    assert ticks(works) == (pytest.approx(ends), missed)
