"""What a check reports: how far each quantity lies from the reference, and how far it may."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One compared quantity.

    Attributes:
      name: as in the case's outputs, or of what is derived from several.
      error, tolerance: in the unit that the check states; an error that is not a number fails.
      group: quantities of one group share a line of the report, which shows the worst.
      reason: what is wrong beyond a number.
    """

    name: str
    error: float
    tolerance: float
    group: str = "values"
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance

    @property
    def severity(self) -> float:
        """Error over tolerance; infinite for anything beyond a tolerance of zero."""
        if np.isnan(self.error):
            return np.inf
        return self.error / self.tolerance if self.tolerance else (np.inf if self.error else 0.0)


def difference(found, reference) -> float:
    """Largest absolute difference; infinite where shapes differ."""
    found, reference = np.asarray(found, np.float64), np.asarray(reference, np.float64)
    if found.shape != reference.shape:
        return np.inf
    return float(np.abs(found - reference).max(initial=0.0))


def compare(name: str, found, reference, tolerance: float, group: str = "values") -> Quantity:
    """Largest absolute difference against `tolerance`."""
    shapes = np.shape(found), np.shape(reference)
    reason = "" if shapes[0] == shapes[1] else f"shape {shapes[0]}, expected {shapes[1]}"
    return Quantity(name, difference(found, reference), tolerance, group, reason)


def exact(found: Mapping, outputs: Mapping, group: str = "masks") -> list[Quantity]:
    """Masks and integers, those that the case has: every element must be equal."""
    return [compare(n, f, outputs[n], 0.0, group) for n, f in found.items() if n in outputs]


def choice(name: str, found, reference, scores, tolerance: float) -> Quantity:
    """Indices chosen for their scores: what the choice costs, in the reference's own scores.

    With a tolerance of 0 the indices must be equal, except where scores tie exactly.

    Args:
      found, reference: int[n, k], ascending.
      scores: f[n, N], the reference's.
    """
    found, reference, scores = np.asarray(found), np.asarray(reference), np.asarray(scores)
    if found.shape != reference.shape:
        return compare(name, found, reference, tolerance, "choices")
    chosen = [np.sort(np.take_along_axis(scores, i, axis=1)) for i in (found, reference)]
    ascending = bool((np.diff(found, axis=1) > 0).all())
    error = difference(*chosen) if ascending else np.inf
    return Quantity(name, error, tolerance, "choices", "" if ascending else "not ascending")


def uncovered(quantities: Iterable[Quantity], outputs: Mapping, left: Mapping) -> list[Quantity]:
    """A failure for each output that is neither compared nor declared as left out."""
    names = {quantity.name for quantity in quantities}
    return [
        Quantity(name, np.inf, 0.0, "unknown outputs", "no check knows this output")
        for name in outputs
        if name not in names and name not in left
    ]
