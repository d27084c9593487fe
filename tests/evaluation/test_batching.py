from __future__ import annotations

import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.batching import Batcher, check_sizes


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def batcher(capacity: int = 3, delay: float = 0.5) -> tuple[Batcher, Clock]:
    clock = Clock()
    made = Batcher(delay, clock)
    made.capacity = capacity
    return made, clock


def test_nothing_waits_for_nothing():
    assert batcher()[0].patience(company=True) is None


def test_a_query_waits_for_company_but_not_longer_than_the_delay():
    queue, clock = batcher()
    queue.add("a")
    assert queue.patience(company=True) == 0.5
    clock.now += 0.3
    queue.add("b")
    assert queue.patience(company=True) == pytest.approx(0.2)
    clock.now += 0.3
    assert queue.patience(company=True) == 0
    assert queue.take() == ["a", "b"] and len(queue) == 0


def test_nobody_waits_when_nobody_can_come():
    queue, _ = batcher()
    queue.add("a")
    assert queue.patience(company=False) == 0


def test_a_full_batch_goes_at_once_and_the_rest_waits_its_own_time():
    queue, clock = batcher(capacity=2)
    for item in "abc":
        queue.add(item)
    assert queue.patience(company=True) == 0
    assert queue.take() == ["a", "b"]
    clock.now += 0.1
    assert queue.patience(company=True) == pytest.approx(0.4)


def test_returned_items_come_first_and_at_once():
    queue, _ = batcher()
    queue.add("c")
    queue.give_back(["a", "b"])
    assert queue.patience(company=True) == 0
    assert queue.take() == ["a", "b", "c"]


def test_discarded_items_are_gone():
    queue, _ = batcher()
    for item in "abab":
        queue.add(item)
    queue.discard(lambda item: item == "a")
    assert queue.take() == ["b", "b"]


def test_sizes_from_the_command_line():
    assert check_sizes("16, 1,4,4") == (1, 4, 16)


@pytest.mark.parametrize("text", ["0", "1,-2", "many", ""])
def test_bad_sizes(text):
    with pytest.raises(InputError, match="--batch_sizes"):
        check_sizes(text)
