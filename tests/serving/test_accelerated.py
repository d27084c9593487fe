"""Accelerated policies behind a server: whose episode it is, and when another one begins."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from semanticvla_jax.accelerate.sp_vla import Schedule
from semanticvla_jax.accelerate.wrap import Accelerated
from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.errors import InputError
from semanticvla_jax.serving.accelerated import AcceleratedPolicy
from tests.serving.counting import CountedPolicy, CountingProgram
from tests.serving.running import FakePolicy, observation, running


def batched(methods: str, execute: int):
    return functools.partial(AcceleratedPolicy, methods=methods, execute=execute)


@pytest.fixture(scope="module")
def pruned():
    """A server that keeps 12 tokens of an episode's first query and 6 of the others."""
    fake = CountedPolicy()
    options = {"batched": batched("vla_pruner", 2), "batch_sizes": (2,), "batch_wait": 0.01}
    accelerated = Accelerated(fake, CountingProgram(fake), ())
    with running(load=lambda: accelerated, **options) as server:
        yield server


def tokens(client, value: float, **changes) -> int:
    answer = client.query(observation(value, **changes))
    assert answer.actions[0, 0] == value
    return answer.accelerated["tokens"]


def test_an_episode_is_a_connection_until_the_client_says_otherwise(pruned):
    with pruned.client() as first, pruned.client() as second:
        assert first.metadata["accelerate"] == "vla_pruner" and first.metadata["execute"] == 2
        assert first.metadata["policy"].endswith("+vla_pruner")
        assert [tokens(first, seed) for seed in range(3)] == [12, 6, 6]
        assert [tokens(second, seed) for seed in range(2)] == [12, 6]  # another connection
        assert tokens(first, 3) == 6
        first.start_episode()
        assert [tokens(first, seed) for seed in range(2)] == [12, 6]
        assert tokens(second, 2) == 6
        assert [tokens(first, seed, instruction="lift") for seed in range(2)] == [12, 6]
        assert [tokens(first, seed) for seed in range(2)] == [12, 6]
        answer = first.query(observation(7))
        assert answer.accelerated == {"query": 3, "by_model": True, "tokens": 6}
    with pruned.client() as again:
        assert tokens(again, 0) == 12


def test_what_is_refused_changes_nothing(pruned):
    with pruned.client() as client:
        assert [tokens(client, seed) for seed in range(2)] == [12, 6]
        for entry in ({"reset": "yes"}, {"last_action": np.zeros(3)}, {"state": np.zeros(2)}):
            with pytest.raises(ServingError) as refused:
                client.query(observation(**entry))
            assert refused.value.code == "bad_observation"
        answer = client.query(observation(2, last_action=np.zeros(7)))
        assert answer.accelerated["query"] == 3


def test_a_schedule_answers_without_the_policy():
    fake = FakePolicy()  # its first action is the state's first number in all dims
    load = lambda: Accelerated(fake, None, (Schedule(),))  # noqa: E731
    options = {"batched": batched("sp_vla_schedule", 1), "batch_sizes": (1,)}
    with running(load=load, **options) as server, server.client() as client:
        asked = fake.entered
        answers = [client.query(observation(0.3)) for _ in range(14)]
        by_model = [answer.accelerated["by_model"] for answer in answers]
        assert by_model == [True] * 6 + [False] * 3 + [True] * 4 + [False]
        assert fake.entered - asked == sum(by_model)
        assert answers[6].actions.shape == (1, 7) and answers[0].actions.shape == (8, 7)
        client.start_episode()
        assert client.query(observation(0.3)).accelerated["query"] == 1


def test_what_clients_execute_is_part_of_a_chunk():
    with pytest.raises(InputError, match="1 to 8"):
        AcceleratedPolicy(Accelerated(FakePolicy(), None, ()), (1,), methods="", execute=9)
