"""A real, untrained policy: what it answers does not depend on who else asks."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.evaluation.served import Query, ServedPolicy
from semanticvla_jax.policy import load_policy


@pytest.fixture(scope="module")
def policy(finished_run):
    return load_policy(finished_run)


def observation(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    image, wrist = rng.integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    state = rng.normal(0, 0.3, 8).astype(np.float32)
    sentence = ("turn on the stove", "pick up the milk")[seed % 2]
    return {"image": image, "wrist_image": wrist, "state": state, "instruction": sentence}


@pytest.fixture(scope="module")
def queries(policy) -> list[Query]:
    return [Query(policy.prepare(observation(seed))) for seed in range(6)]


def test_at_one_batch_size_answers_are_bitwise_the_same_in_any_company(policy, queries):
    served = ServedPolicy(policy, sizes=(4,))
    alone = [served.answer([query])[0].actions for query in queries]
    rng = np.random.default_rng(0)
    for _ in range(12):
        chosen = rng.choice(len(queries), size=rng.integers(1, 5))
        answers = served.answer([queries[index] for index in chosen])
        assert [answer.batch for answer in answers] == [len(chosen)] * len(chosen)
        for index, answer in zip(chosen, answers, strict=True):
            np.testing.assert_array_equal(answer.actions, alone[index])


def test_other_batch_sizes_change_the_last_bits_only(policy, queries):
    one, several = ServedPolicy(policy, sizes=(1,)), ServedPolicy(policy, sizes=(2, 4))
    for count in (1, 2, 3, 4):
        answers = several.answer(queries[:count])
        for query, answer in zip(queries, answers, strict=False):
            np.testing.assert_allclose(
                answer.actions, one.answer([query])[0].actions, rtol=0, atol=1e-5
            )


def test_served_is_infer(policy, queries):
    actions = policy.finish(ServedPolicy(policy, sizes=(1,)).answer(queries[:1])[0].actions)
    np.testing.assert_array_equal(actions, policy.infer(observation(0)))
    both = policy.infer_batch([observation(0), observation(1)])
    np.testing.assert_allclose(both[0], actions, rtol=0, atol=1e-5)
    assert both.shape == (2, 8, 7)


def test_details_only_for_those_who_ask_and_actions_stay_the_same(policy, queries):
    served = ServedPolicy(policy, sizes=(2,))
    plain, explained = served.answer([queries[0], Query(queries[1].inputs, explain=True)])
    assert plain.details is None
    assert explained.details["siglip"]["kept_patches"].shape[0] == 2  # per camera
    np.testing.assert_array_equal(explained.actions, served.answer([queries[1]])[0].actions)
