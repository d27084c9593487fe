"""The score of a policy without eyes: one demonstration, replayed open loop.

Whoever plays one fixed sequence of actions looks at nothing, so what it reaches is what a task
gives away for free. The demonstration is the scripted expert's, on the official state that is
nearest to the mean of all, with the plan played to its end (the release included).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from semanticvla_jax.libero.env import LiberoEnv, Placement
from semanticvla_jax.libero.expert import ScriptedExpert
from semanticvla_jax.libero.placement import Official
from semanticvla_jax.libero.suites import MAX_STEPS

STILL_STEPS = 20
"""Steps after the last action in which the goal may still come true."""


def record_demonstration(env: LiberoEnv, placement: Placement) -> np.ndarray | None:
    """The expert's actions, f64[T, 7], or None if it fails within the suite's step limit."""
    env.reset(placement)
    actions, success = [], False
    for action in ScriptedExpert(env, np.random.default_rng(0)).actions():
        actions.append(action)
        success = env.step(action) or success
        if len(actions) == MAX_STEPS[env.task.suite]:
            break
    return np.array(actions) if success else None


def replay(env: LiberoEnv, actions: np.ndarray, placement: Placement) -> bool:
    """Whether the goal comes true while `actions` f64[T, 7] are played without looking."""
    env.reset(placement)
    still = np.append(np.zeros(6), actions[-1, 6])
    ending = min(STILL_STEPS, MAX_STEPS[env.task.suite] - len(actions))
    return any(env.step(action) for action in (*actions, *[still] * ending))


def first_demonstration(
    env: LiberoEnv, indices: Sequence[int]
) -> tuple[int | None, np.ndarray | None]:
    """(official state, actions) of the first of `indices` that the expert masters."""
    for index in indices:
        actions = record_demonstration(env, Official(index))
        if actions is not None:
            return index, actions
    return None, None
