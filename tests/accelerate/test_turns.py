"""Episodes in one batch: each as if it were alone, bit for bit, whatever it remembers."""

from __future__ import annotations

from unittest import mock

import jax
import numpy as np
import pytest

from semanticvla_jax.accelerate.turns import Turn, Turns
from semanticvla_jax.accelerate.vla_pruner import VLAPruner
from semanticvla_jax.accelerate.wrap import assemble
from tests.accelerate.policies import observation, policy
from tests.models.smallest import jit


@pytest.fixture(scope="module")
def turns():
    with mock.patch.object(jax, "jit", jit):
        accelerated = assemble(policy(), [VLAPruner(before=1, watched=1, window=1)])
        yield Turns(accelerated.policy, accelerated.program, sizes=(3,))


def episode(number: int, length: int = 4) -> list[dict]:
    sentence = ("push", "lift it")[number % 2]
    return [policy().prepare(observation(10 * number + step, sentence)) for step in range(length)]


def alone(turns, inputs) -> list:
    outcomes, memory = [], None
    for row in inputs:
        outcomes += turns.take([Turn(row, None, memory)])
        memory = outcomes[-1].memory
    return outcomes


def test_company_changes_nothing_though_some_begin_while_others_are_pruned(turns):
    episodes = [episode(0), episode(1), episode(2, length=2)]
    expected = [alone(turns, inputs) for inputs in episodes]
    slots = [[outcome.slots for outcome in outcomes] for outcomes in expected]
    assert slots[0] == [(12, 12), (12, 6), (12, 6), (12, 6)]  # 12 tokens; pruned to 6 from then on
    kept = [int(outcome.kept.sum()) for outcome in expected[0]]
    assert kept == [12, 6, 6, 6]

    starts, memories, found = (0, 1, 2), [None] * 3, [[], [], []]
    for step in range(5):
        active = [i for i in range(3) if 0 <= step - starts[i] < len(episodes[i])]
        asked = [Turn(episodes[i][step - starts[i]], None, memories[i]) for i in active]
        for i, outcome in zip(active, turns.take(asked), strict=True):
            # What crosses to another process and back is plain arrays.
            memories[i] = tuple(np.array(leaf) for leaf in outcome.memory)
            found[i].append(outcome)
    for some, others in zip(found, expected, strict=True):
        for a, b in zip(some, others, strict=True):
            np.testing.assert_array_equal(a.actions, b.actions)
            np.testing.assert_array_equal(a.kept, b.kept)
            assert a.slots == b.slots
            for leaf, other in zip(a.memory, b.memory, strict=True):
                np.testing.assert_array_equal(leaf, other)
