"""Gradients of our parameters under the authors' names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tests.parity.quantities import Quantity, compare
from tests.parity.weights import Imported

# Norms: relative to each one, but no closer than to this part of the largest: gradients that cancel
# to nothing (biases of keys) are rounding noise.
NORM_TOLERANCE, NORM_FLOOR = 2e-4, 1e-3
ELEMENT_TOLERANCE = 2e-4


def norms(
    imported: Imported, grads: Mapping, names: Iterable[str], pad_id: int
) -> dict[str, float | None]:
    """Gradient norm of each of the authors' parameters; None for those that are never run."""
    return {
        name: _norm(imported, grads, name, pad_id) if name in imported else None for name in names
    }


def _norm(imported: Imported, grads: Mapping, name: str, pad_id: int) -> float:
    value = np.asarray(imported.part(grads, name), np.float64)
    if imported.ours(name).endswith("llm/embed_tokens/embedding"):
        # torch gives the row of its `padding_idx` no gradient.
        value = np.delete(value, pad_id, axis=0)
    return float(np.linalg.norm(value))


def check_norms(
    found: Mapping[str, float | None],
    expected: Mapping[str, float | None],
    label: str = "",
) -> list[Quantity]:
    """Relative errors of all norms; a parameter has a gradient here where it has one there."""
    largest = max(norm for norm in expected.values() if norm is not None)
    out = []
    for name, norm in expected.items():
        mine = found[name]
        if mine is None or norm is None:
            error = 0.0 if not mine and not norm else np.inf
        else:
            error = abs(mine - norm) / max(norm, NORM_FLOOR * largest)
        group = f"{label}gradient norms"
        out.append(Quantity(f"{label}norm of {name}", error, NORM_TOLERANCE, group))
    return out


def compare_whole(name: str, found, expected) -> Quantity:
    """All elements of a gradient, to a part of its largest one."""
    largest = float(np.abs(expected).max(initial=0.0))
    return compare(name, found, expected, ELEMENT_TOLERANCE * largest, "gradients")
