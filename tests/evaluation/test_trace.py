"""Traces of a real, untrained policy in an environment of noise."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from semanticvla_jax.evaluation.agents import PolicyAgent
from semanticvla_jax.evaluation.rollout import run_episode
from semanticvla_jax.evaluation.served import ServedPolicy
from semanticvla_jax.evaluation.trace import trace_arrays, write_trace
from semanticvla_jax.policy import load_policy


class NoiseEnv:
    instruction = "turn on the stove"
    task = SimpleNamespace(suite="libero_goal")

    def reset(self, placement):
        self._rng = np.random.default_rng(0)

    def step(self, action):
        return False

    def observe(self):
        image, wrist = self._rng.integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
        return {"image": image, "wrist_image": wrist, "state": self._rng.normal(0, 0.3, 8)}


@pytest.fixture(scope="module")
def agent(finished_run):
    policy = load_policy(finished_run)
    served = ServedPolicy(policy, sizes=(2,))
    return PolicyAgent(policy, 4, None, lambda query: served.answer([query])[0])


def episode(agent, explain: bool):
    agent.explain = explain
    return run_episode(NoiseEnv(), agent, "placement", max_steps=10)


def test_tracing_does_not_change_what_is_done(agent):
    plain, traced = episode(agent, False), episode(agent, True)
    np.testing.assert_array_equal(plain.actions, traced.actions)
    assert set(trace_arrays(plain)) == {"actions", "query_steps", "success", "instruction"}


def test_a_trace_holds_what_the_model_saw_and_thought(agent, tmp_path):
    done = episode(agent, True)
    write_trace(tmp_path / "traces" / "one.npz", done)
    trace = np.load(tmp_path / "traces" / "one.npz")
    assert trace["query_steps"].tolist() == [0, 4, 8] and trace["actions"].shape == (10, 7)
    for query, step in enumerate(trace["query_steps"]):
        executed = trace["actions"][step : step + 4]
        np.testing.assert_array_equal(trace["chunks"][query][: len(executed)], executed)
    words = [word.strip("▁") for word in trace["words"]]
    assert "stove" in words and words[-1] == ""

    shapes = {name: trace[name].shape for name in trace.files}
    queries, cameras, patches, length = 3, 2, 16, len(words)
    assert shapes["images"] == (queries, cameras, 32, 32, 3) and trace["images"].dtype == np.uint8
    assert shapes["siglip_similarity"] == (queries, cameras, patches, length)
    assert shapes["siglip_kept_patches"] == (queries, cameras, 4)
    assert shapes["siglip_cue_attention"] == (queries, cameras, patches, 2)
    assert shapes["dino_query_attention"] == (queries, cameras, 4, patches)

    best = np.sort(np.argsort(-trace["siglip_patch_scores"], axis=-1, kind="stable")[..., :4])
    assert (best == np.sort(trace["siglip_kept_patches"])).mean() > 0.9  # float16 may tie
    np.testing.assert_allclose(trace["siglip_cue_attention"].sum(2), 1, atol=0.01)
    shares = trace["dino_query_attention"].astype(np.float32).sum(-1)
    assert (shares > 0.1).all() and (shares < 1.001).all()


def test_aggregation_attention_is_that_of_the_last_block():
    """Of 7 tokens: 1 prefix, 4 patches, 2 aggregation tokens."""
    from semanticvla_jax.models import attention_maps

    weights = np.random.default_rng(0).dirichlet(np.ones(7), (4, 3, 7)).astype(np.float32)
    tower = SimpleNamespace(feature_index=1, prefix=1, patches=4)
    sown = {"dino": {"blocks_1": {"attn": {"weights": (weights,)}}}}
    found = attention_maps.aggregation_attention(SimpleNamespace(dino=tower), sown, images=2)
    assert found.shape == (2, 2, 2, 4)
    np.testing.assert_allclose(found[1, 0, 1], weights[2, :, 6, 1:5].mean(0), rtol=1e-6)
