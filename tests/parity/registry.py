"""Which check knows which case, and which outputs are left out on purpose."""

from __future__ import annotations

import importlib.util
import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.parity import (
    backbone,
    encoders,
    film_tower,
    heads_and_masks,
    id_pruner,
    images,
    lora_training,
    schedule,
    vla_pruner,
    whole_model,
)
from tests.parity.golden import Golden
from tests.parity.precision import FLOAT32, Precision
from tests.parity.quantities import Quantity, uncovered

Check = Callable[[Golden, Precision], list[Quantity]]

# First letter of a case's name -> its check.
CHECKS: dict[str, Check] = {
    "a": id_pruner.check,
    "b": film_tower.check,
    "c": backbone.check_exchange,
    "d": backbone.check_backbone,
    "e": whole_model.check,
    "f": encoders.check,
    "g": lora_training.check,
    "h": schedule.check,
    "i": heads_and_masks.check,
    "j": images.check,
    "p": vla_pruner.check,
}
# Cases that also run in other types than float32: models, not training, tables or pixels.
MODEL_CASES = "abcdef"
# Outputs that are not compared: regex of "<case>/<output>" -> why.
LEFT_OUTPUTS = {
    r"f_.*siglip.*/(.*pooler_output|pooled_map)": "pooling head, which a VLA never runs: not owned",
}
if importlib.util.find_spec("robosuite") is None:
    LEFT_OUTPUTS[r"i_.*/axisangle"] = "the simulator, whose function converts, is not installed"


class Outcome(NamedTuple):
    """What a case came to: compared quantities, and outputs left out, with the reason."""

    quantities: list[Quantity]
    left: Mapping[str, str]


def left_case(name: str, precision: Precision = FLOAT32) -> str | None:
    """Why a case does not run, or None."""
    letter = _letter(name)
    if precision is not FLOAT32 and letter in CHECKS and letter not in MODEL_CASES:
        return f"not a model: runs in {FLOAT32.name} only"
    return None


def run_case(directory: Path, name: str, precision: Precision = FLOAT32) -> Outcome:
    """Runs a case; whatever goes wrong is a failed quantity with its reason."""
    try:
        case = Golden(directory, name)
        check = CHECKS.get(_letter(name))
        if check is None:
            return Outcome([failure("unknown case", "no check knows it")], {})
        quantities = check(case, precision)
        left = _left_outputs(case, precision)
        compared = [q for q in quantities if q.name not in left]
        return Outcome(compared + uncovered(quantities, case.outputs, left), left)
    except Exception as error:  # one case that crashes must not stop the others
        reason = f"{type(error).__name__} at {_place(error)}: {error}"
        return Outcome([failure("crash", reason)], {})


def failure(group: str, reason: str) -> Quantity:
    return Quantity("-", np.inf, 0.0, group, reason)


def _letter(name: str) -> str:
    """'e' of 'e_libero'; '' where a name has no such beginning."""
    return name[0] if name[1:2] == "_" else ""


def _left_outputs(case: Golden, precision: Precision) -> dict[str, str]:
    return {
        name: reason
        for name in case.outputs
        for pattern, reason in {**LEFT_OUTPUTS, **precision.left}.items()
        if re.fullmatch(pattern, f"{case.name}/{name}")
    }


def _place(error: Exception) -> str:
    """Innermost line of our own."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if re.search(r"/(tests|semanticvla_jax)/", f.filename)]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
