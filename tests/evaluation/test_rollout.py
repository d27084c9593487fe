from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.rollout import ExpertAgent, Film, PolicyAgent, run_episode


class CountingEnv:
    """Succeeds at step `success_at`; remembers the actions."""

    instruction = "lift the counter"
    task = SimpleNamespace(suite="libero_object")

    def __init__(self, success_at: int | None = None):
        self.success_at, self.actions, self.placements = success_at, [], []

    def reset(self, placement):
        self.placements.append(placement)

    def step(self, action):
        self.actions.append(action)
        return len(self.actions) == self.success_at

    def observe(self):
        return {"state": np.full(8, len(self.actions), np.float32)}

    def render(self, camera, size):
        return np.full((size, size, 3), len(self.actions), np.uint8)


class CountingPolicy:
    """Action k of the chunk says which step it is meant for."""

    chunk, camera_size = 8, 64

    def __init__(self):
        self.observations = []

    def infer(self, observation):
        self.observations.append(observation)
        return observation["state"][0] + np.arange(8, dtype=np.float32)[:, None] + np.zeros(7)


@pytest.mark.parametrize("execute", [1, 4, 8, None])
def test_policy_is_asked_again_after_its_executed_actions(execute):
    env, policy = CountingEnv(), CountingPolicy()
    episode = run_episode(env, PolicyAgent(policy, execute), "placement", max_steps=20)
    assert [action[0] for action in env.actions] == list(range(20))
    assert episode.steps == 20 and not episode.success
    assert len(episode.latencies) == -(-20 // (execute or 8))
    assert policy.observations[0]["instruction"] == "lift the counter"


def test_another_sentence_may_be_said():
    policy = CountingPolicy()
    run_episode(CountingEnv(), PolicyAgent(policy, sentence="drop it"), "placement", max_steps=1)
    assert policy.observations[0]["instruction"] == "drop it"


def test_success_ends_the_episode_within_a_chunk():
    env = CountingEnv(success_at=5)
    episode = run_episode(env, PolicyAgent(CountingPolicy()), "placement")
    assert episode.success and episode.steps == len(env.actions) == 5


def test_step_limit_is_the_suites():
    env = CountingEnv()
    assert run_episode(env, PolicyAgent(CountingPolicy()), "placement").steps == 280


@pytest.mark.parametrize("execute", [0, 9])
def test_no_more_actions_than_the_chunk_has(execute):
    with pytest.raises(InputError, match="1 to 8"):
        PolicyAgent(CountingPolicy(), execute)


def test_an_agent_may_give_up():
    agent = ExpertAgent()
    agent.start_episode = lambda env, instruction: setattr(
        agent, "_actions", iter([np.zeros(7), np.ones(7)])
    )
    env = CountingEnv()
    assert run_episode(env, agent, "placement").steps == 2


def test_film_is_written_whole(tmp_path):
    film, env = Film(size=32), CountingEnv()
    run_episode(env, PolicyAgent(CountingPolicy()), "placement", max_steps=9, after_step=film)
    film.write(tmp_path / "videos" / "episode.mp4")
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["episode.mp4"]
    import imageio_ffmpeg

    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "videos" / "episode.mp4"))
    assert frames == 9
