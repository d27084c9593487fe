"""Accelerators in the engine: memory that travels, queries left out, normalisation by suite."""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from semanticvla_jax.accelerate.sp_vla import Schedule
from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.contestants import agent_of, checkpoint_policy
from semanticvla_jax.evaluation.engine import run_jobs
from semanticvla_jax.evaluation.local import ThisProcess
from semanticvla_jax.evaluation.rollout import run_episode
from semanticvla_jax.evaluation.runner import EpisodeRunner, Setup
from semanticvla_jax.evaluation.served import Answer
from semanticvla_jax.robots import LIBERO
from tests.evaluation.fakes import (
    DyingRemembering,
    FakeEnv,
    FakeInterface,
    FaultyEnv,
    RememberingPolicy,
    jobs,
    setup,
)
from tests.evaluation.test_local import outcomes, pool
from tests.evaluation.test_trace import NoiseEnv

TODO = jobs(tasks=2, episodes=3)


def test_memory_survives_deaths_on_either_side_and_never_mixes(tmp_path):
    alone = list(run_jobs(ThisProcess(setup(make_policy=RememberingPolicy)), TODO, retries=0))
    expected = outcomes(alone)
    assert len({steps for _, steps, _ in expected.values()}) > 2
    for _, result in alone:
        # Each query is answered from all before it; a mistake would show in the number remembered.
        assert result["tokens"] == list(range(1, result["calls"] + 1))
        assert result["slots"] == [[7]] * result["calls"] and "skipped_ms" not in result
    faulty = setup(
        functools.partial(FaultyEnv, {1: "exit"}, tmp_path),
        functools.partial(DyingRemembering, tmp_path / "died"),
    )
    results = list(run_jobs(pool(faulty, workers=3), TODO, retries=1))
    assert outcomes(results) == expected and (tmp_path / "died").exists()
    assert [r["error_type"] for _, r in results if r["status"] == "error"] == ["WorkerDied"] * 2


class Watched(FakeEnv):
    """Counts how often it is looked at."""

    looks = 0

    def observe(self):
        type(self).looks += 1
        return super().observe()

    def step(self, action):
        super().step(action)
        return False


class HandInterface(FakeInterface):
    robot = LIBERO


def steady(query) -> Answer:
    """Always moves evenly; says by its gripper whether it was told of a last action."""
    action = np.array([0.3, -0.3, 0.3, 0, 0, 0, query.last_action is not None], np.float32)
    return Answer(np.tile(action, (4, 1)), 1)


def test_a_schedule_leaves_out_queries_and_images():
    Watched.looks = 0
    make_agent = functools.partial(agent_of, {"": HandInterface()}, 1, None, (Schedule(),))
    runner = EpisodeRunner(Setup(Watched, make_agent, max_steps=14), steady)
    row = runner.run(jobs(1, 1)[0])
    # Six to fill the buffer; then one is left out while more than half are the policy's.
    assert row["calls"] == Watched.looks == 6 + 4 and len(row["skipped_ms"]) == 3 + 1
    assert [len(row[name]) for name in ("latency_ms", "render_ms", "batch")] == [10] * 3
    assert row["steps"] == 14 and json.dumps(row)


def test_each_suite_has_its_normalisation():
    class Scaled(HandInterface):
        def __init__(self, scale):
            self.scale = scale

        def finish(self, actions):
            return self.scale * actions

    class Env(FakeEnv):
        task = SimpleNamespace(suite="libero_goal")

        def __init__(self):
            self.state = np.zeros(7)

    agent = agent_of({"libero_object": Scaled(1), "libero_goal": Scaled(2)}, 1, None, (), steady)
    agent.start_episode(Env(), "stir")
    actions, _ = agent.act(Env(), 0)
    np.testing.assert_allclose(actions, [[0.6, -0.6, 0.6, 0, 0, 0, 0]], rtol=1e-6)


def test_a_checkpoint_with_accelerators(finished_run):
    contestant = checkpoint_policy(
        finished_run, execute=4, accelerate="random:drop=0.25, sp_vla_schedule", sizes=(2,)
    )
    identity = json.loads(json.dumps(contestant.identity))
    assert identity["policy"] == "checkpoint+random:drop=0.25+sp_vla_schedule"
    names = [settings["name"] for settings in identity["accelerate"]]
    assert names == ["random", "sp_vla_schedule"] and identity["accelerate"][0]["drop"] == 0.25
    served = contestant.make_policy()

    def run(ask):
        return run_episode(NoiseEnv(), contestant.make_agent(ask), "placement", max_steps=12)

    episode = run(lambda query: served.answer([query])[0])
    # Of two cameras 2 cues and 3 of 4 anchors each, drawn anew in every query.
    assert [len(query.kept) for query in episode.queries] == [10] * 3

    def crowded(query):
        stranger = query._replace(inputs={**query.inputs, "state": query.inputs["state"] + 1})
        return served.answer([stranger._replace(memory=None), query])[1]

    again = run(crowded)
    np.testing.assert_array_equal(again.actions, episode.actions)


def test_accelerators_that_cannot_be_are_refused_before_anything_starts(finished_run):
    for text, match in (
        ("unheard_of", "one of vla_pruner"),
        ("fopru,visionzip", "one of them"),
        ("fastv,fastv", "each once"),
    ):
        with pytest.raises(InputError, match=match):
            checkpoint_policy(finished_run, accelerate=text)
