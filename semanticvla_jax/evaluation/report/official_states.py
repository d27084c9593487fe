"""What a task's initial states ask of a policy, as far as it was measured."""

from __future__ import annotations

import dataclasses
from typing import Any

from semanticvla_jax.libero.variation import find


def variation_of(suite: str, task: int) -> dict[str, Any] | None:
    """`semanticvla_jax.libero.variation.Variation` as a dict; None where nothing was measured."""
    found = find(suite, task)
    return dataclasses.asdict(found) if found else None


def blind_score(variation: dict[str, Any] | None, placement: str) -> tuple[int, int] | None:
    """(successes, episodes) of a replayed demonstration on a kind of placement, if measured."""
    if not variation or variation["source"] is None or placement not in ("official", "jittered"):
        return None
    return variation[placement], variation["replays"]
