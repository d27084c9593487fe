"""The table of sentences: each computed once, the least recently used forgotten."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.inference.compiled import Compiler
from semanticvla_jax.inference.sentences import Sentences

PARAMS = {"factor": jnp.float32(3)}


def row(number: int) -> dict[str, np.ndarray]:
    ids = np.array([number, 7], np.int32)
    return {"prompt_ids": ids, "prompt_mask": ids != 7, "text_ids": ids[:1]}


class Counted(Sentences):
    """Counts what is learnt."""

    def __init__(self, capacity: int):
        super().__init__(understand, PARAMS, row(0), capacity, Compiler())
        learn, self.learnt = self._learn, 0

        def counting(*arguments):
            self.learnt += 1
            return learn(*arguments)

        self._learn = counting

    def held(self, rows) -> list[float]:
        slots = self.slots(rows)
        assert slots.dtype == np.int32
        return np.asarray(self.table["sum"])[slots].tolist()


def understand(params, batch):
    return {"sum": params["factor"] * batch["prompt_ids"].sum(1)}


def values(*numbers: int) -> list[float]:
    return [3.0 * (number + 7) for number in numbers]


def test_a_batch_mixes_sentences_and_each_is_learnt_once():
    sentences = Counted(capacity=4)
    assert sentences.held([row(1), row(2), row(1)]) == values(1, 2, 1)
    assert sentences.held([row(2), row(3)]) == values(2, 3)
    assert sentences.learnt == 3


def test_the_least_recently_used_makes_room_but_never_one_of_the_same_batch():
    sentences = Counted(capacity=3)
    sentences.held([row(1), row(2), row(3)])
    assert sentences.held([row(1), row(4)]) == values(1, 4)  # 2 goes
    assert sentences.held([row(3), row(1), row(4)]) == values(3, 1, 4)
    assert sentences.learnt == 4
    assert sentences.held([row(5), row(2), row(3)]) == values(5, 2, 3)
    assert sentences.learnt == 6


def test_sentences_that_differ_for_the_text_tower_only_are_different():
    sentences = Counted(capacity=3)
    first, second = sentences.slots([row(1), row(1) | {"text_ids": np.array([9], np.int32)}])
    assert first != second


def test_more_sentences_than_room():
    with pytest.raises(InputError, match="at most 2"):
        Counted(capacity=2).slots([row(1), row(2), row(3)])
