"""Whether two success rates differ: exact tests, and intervals of the difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from semanticvla_jax.evaluation.results import wilson_interval


@dataclass(frozen=True)
class Difference:
    """Success rate of a second policy minus that of a first one.

    Attributes:
      change: difference of the rates, -1 to 1.
      low, high: its 95 % interval.
      p: two-sided, of equal success.
      test, interval: the methods' names.
    """

    change: float
    low: float
    high: float
    p: float
    test: str
    interval: str


def paired_difference(both: int, first_only: int, second_only: int, neither: int) -> Difference:
    """Of two policies on the same episodes, from how many succeeded with whom.

    McNemar's exact test: the binomial test of the episodes on which they differ. The interval is
    Newcombe's for paired proportions (Statistics in Medicine 17, 1998, p. 2635, method 10).
    """
    episodes = both + first_only + second_only + neither
    differ = first_only + second_only
    p = stats.binomtest(second_only, differ).pvalue if differ else 1.0
    low, high = _paired_interval(both, first_only, second_only, neither)
    change = (second_only - first_only) / episodes
    return Difference(change, low, high, float(p), "McNemar exact", "Newcombe, paired")


def unpaired_difference(first: tuple[int, int], second: tuple[int, int]) -> Difference:
    """Of two policies on different episodes, each (successes, episodes).

    Fisher's exact test; Newcombe's hybrid score interval (Statistics in Medicine 17, 1998, p. 873,
    method 10).
    """
    table = [[successes, episodes - successes] for successes, episodes in (first, second)]
    (rate_1, low_1, high_1), (rate_2, low_2, high_2) = map(_rate, (first, second))
    change = rate_2 - rate_1
    low = change - math.hypot(rate_2 - low_2, high_1 - rate_1)
    high = change + math.hypot(high_2 - rate_2, rate_1 - low_1)
    p = float(stats.fisher_exact(table).pvalue)
    return Difference(change, low, high, p, "Fisher exact", "Newcombe, unpaired")


def false_discovery_rates(values: list[float]) -> list[float]:
    """p-values of several tests, adjusted after Benjamini and Hochberg."""
    return stats.false_discovery_control(values).tolist() if values else []


def _rate(counts: tuple[int, int]) -> tuple[float, float, float]:
    return counts[0] / counts[1], *wilson_interval(*counts)


def _paired_interval(both: int, first_only: int, second_only: int, neither: int):
    episodes = both + first_only + second_only + neither
    rate_1, low_1, high_1 = _rate((both + first_only, episodes))
    rate_2, low_2, high_2 = _rate((both + second_only, episodes))
    phi = _correlation(both, first_only, second_only, neither)
    change = rate_2 - rate_1

    def spread(of_second: float, of_first: float) -> float:
        squared = of_second**2 - 2 * phi * of_second * of_first + of_first**2
        return math.sqrt(max(0.0, squared))

    low = change - spread(rate_2 - low_2, high_1 - rate_1)
    return low, change + spread(high_2 - rate_2, rate_1 - low_1)


def _correlation(both: int, first_only: int, second_only: int, neither: int) -> float:
    """Phi with Newcombe's continuity correction; 0 where a margin is empty."""
    episodes = both + first_only + second_only + neither
    margins = (both + first_only) * (second_only + neither)
    margins *= (both + second_only) * (first_only + neither)
    excess = both * neither - first_only * second_only
    if excess > 0:
        excess = max(0.0, excess - episodes / 2)
    return excess / math.sqrt(margins) if margins else 0.0
