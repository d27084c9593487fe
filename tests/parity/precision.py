"""Numeric types that cases are computed in, and how close each comes to the reference."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from unittest import mock

import numpy as np

from semanticvla_jax.models import pruners
from tests.parity.golden import Golden
from tests.parity.quantities import Quantity, compare

# int[n, k] in the order in which a model makes its choices.
Choices = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far numbers of a check may lie from the reference.

    Attributes:
      absolute: in float32, where the reference's own noise is not larger.
      relative: in bfloat16, to the largest element of the quantity.
    """

    absolute: float
    relative: float = 0.05


class Float32:
    """The goldens' README: its absolute tolerance, or ten times the reference's own noise.

    Masks and choices are exact.
    """

    name = "float32"
    slots: Mapping[str, str] = {}
    gradients = True
    # Regex of "<case>/<output>" -> why it is not compared.
    left: Mapping[str, str] = {}

    def tolerance(self, case: Golden, name: str, reference, allowed: Tolerance) -> float:
        return max(allowed.absolute, 10 * case.noise(name))

    def choice_tolerance(self, case: Golden, scores: str) -> float:
        """0, or the noise of the scores where a case says that its margin is below that."""
        noise = 10 * case.noise(scores)
        return noise if case.margin(scores) < noise else 0.0

    def given(self, choices: Callable[[], Choices]) -> None:
        """The model chooses for itself."""
        return None


class Bfloat16:
    """Parameters and computation in bfloat16, as the released evaluation runs.

    Every operation rounds to 2^-9 = 0.2 % of its result, and errors of many operations add up like
    independent ones: some 150 roundings one after the other (a tower of five blocks) give 2.4 % of
    a typical element, and as many more follow in decoder and head. The worst element of thousands
    lies at three to four times the typical error, and the largest element, to which a tolerance is
    relative, at three to four times a typical one. Hence 5 % for parts, 10 % for the whole model.
    The public cases reach 2.2 % and 6.1 %; these figures were known when the tolerances were set.
    Most structural rules implemented wrongly move the whole model's actions by 19 % and more
    (e_libero_public_mutations.json: 0.4 of 2.1); norm epsilons and GELU kinds only float32 shows.

    A choice among scores closer than bfloat16 resolves may differ, and then everything behind it
    does. So the model is given the reference's choices, and what its own scores would have chosen
    instead is judged by what it costs in the reference's scores: at most 0.01, five roundings of a
    cosine near 1 (the public cases reach 0.0013).

    Gradients stay with float32: those of an absolute error jump where a prediction passes its
    target.
    """

    name = "bfloat16"
    slots: Mapping[str, str] = {"dtype": "bfloat16", "param_dtype": "bfloat16"}
    gradients = False
    left: Mapping[str, str] = {
        r"e_.*/grad/.*": "gradients of an absolute error jump with its sign: float32 only"
    }

    def tolerance(self, case: Golden, name: str, reference, allowed: Tolerance) -> float:
        return allowed.relative * float(np.abs(np.asarray(reference, np.float64)).max(initial=0.0))

    def choice_tolerance(self, case: Golden, scores: str) -> float:
        return 0.01

    def given(self, choices: Callable[[], Choices]) -> Choices:
        """The model is given the reference's choices."""
        return [np.asarray(choice, np.int32) for choice in choices()]


@contextlib.contextmanager
def following(choices: Choices | None):
    """While a model is traced: it makes the given choices instead of its own, if there are any."""
    if choices is None:
        yield
        return
    rows = iter(choices)
    with mock.patch.object(pruners, "top_k_in_order", lambda scores, k: next(rows)):
        yield


Precision = Float32 | Bfloat16
FLOAT32, BFLOAT16 = Float32(), Bfloat16()
PRECISIONS: dict[str, Precision] = {p.name: p for p in (FLOAT32, BFLOAT16)}


def values(
    case: Golden, precision: Precision, found: dict, allowed: Tolerance, group: str = "values"
) -> list[Quantity]:
    """Quantities of `found` that the case has, against its outputs."""
    return [
        compare(
            name,
            np.asarray(value, np.float32),
            case.outputs[name],
            precision.tolerance(case, name, case.outputs[name], allowed),
            group,
        )
        for name, value in found.items()
        if name in case.outputs
    ]
