"""Contestants measured in alternating blocks, so that what else runs hits all alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Asked(Protocol):
    """What a worker answers."""

    def ask(self, order: str, **arguments) -> list[float]: ...


@dataclass(frozen=True)
class Times:
    """Seconds of one contestant's queries, a list for each round."""

    rounds: Sequence[Sequence[float]]

    @property
    def all(self) -> np.ndarray:
        return np.concatenate([np.asarray(seconds) for seconds in self.rounds])

    @property
    def median(self) -> float:
        return float(np.median(self.all))

    @property
    def p99(self) -> float:
        return float(np.percentile(self.all, 99))


@dataclass(frozen=True)
class Ratio:
    """Of two medians over all rounds, and the quarters (25 %, 75 %) of the rounds' own ratios."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(theirs: Times, ours: Times) -> Ratio:
    """How many times as long theirs takes."""
    by_round = [
        float(np.median(them) / np.median(us))
        for them, us in zip(theirs.rounds, ours.rounds, strict=True)
    ]
    low, high = np.percentile(by_round, (25, 75))
    return Ratio(theirs.median / ours.median, float(low), float(high))


def measure(
    contestants: Mapping[str, tuple[Asked, str]], calls: int, block: int, warm_up: int
) -> dict[str, Times]:
    """Queries of all contestants, the same observations for each, in alternating order.

    Args:
      contestants: {name: (worker, which of its calls)}.
      calls: of each contestant; rounded up to whole blocks.
      block: calls of one contestant in a row.
      warm_up: calls of each beforehand, not counted.
    """
    for worker, call in contestants.values():
        worker.ask("block", call=call, first=0, count=warm_up)
    rounds: dict[str, list[list[float]]] = {name: [] for name in contestants}
    for number in range(-(-calls // block)):
        order = list(contestants.items())
        for name, (worker, call) in order if number % 2 == 0 else reversed(order):
            first = warm_up + 1 + number * (block + 1)
            rounds[name].append(worker.ask("block", call=call, first=first, count=block))
    return {name: Times(seconds) for name, seconds in rounds.items()}
