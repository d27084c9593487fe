from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.agents import ExpertAgent, PolicyAgent
from semanticvla_jax.evaluation.rollout import Film, run_episode
from semanticvla_jax.evaluation.served import Answer


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
    """Both interface and policy. Action k of the chunk says which step it is meant for."""

    chunk, camera_size = 8, 64

    def __init__(self):
        self.observations = []

    def prepare(self, observation):
        self.observations.append(observation)
        return {"state": observation["state"]}

    def finish(self, actions):
        return actions

    def answer(self, query):
        first = query.inputs["state"][0]
        return Answer(first + np.arange(8, dtype=np.float32)[:, None] + np.zeros(7), batch=3)


def agent(policy=None, execute=None, sentence=None) -> PolicyAgent:
    policy = policy or CountingPolicy()
    return PolicyAgent(policy, execute, sentence, policy.answer)


@pytest.mark.parametrize("execute", [1, 4, 8, None])
def test_policy_is_asked_again_after_its_executed_actions(execute):
    env, policy = CountingEnv(), CountingPolicy()
    episode = run_episode(env, agent(policy, execute), "placement", max_steps=20)
    assert [action[0] for action in env.actions] == list(range(20))
    np.testing.assert_array_equal(episode.actions[:, 0], range(20))
    assert episode.steps == 20 and not episode.success
    assert [query.step for query in episode.queries] == list(range(0, 20, execute or 8))
    assert all(query.batch == 3 and query.seconds > 0 for query in episode.queries)
    assert policy.observations[0]["instruction"] == "lift the counter"


def test_another_sentence_may_be_said():
    policy = CountingPolicy()
    run_episode(CountingEnv(), agent(policy, sentence="drop it"), "placement", max_steps=1)
    assert policy.observations[0]["instruction"] == "drop it"


def test_success_ends_the_episode_within_a_chunk():
    env = CountingEnv(success_at=5)
    episode = run_episode(env, agent(), "placement")
    assert episode.success and episode.steps == len(env.actions) == 5


def test_step_limit_is_the_suites():
    env = CountingEnv()
    assert run_episode(env, agent(), "placement").steps == 280


@pytest.mark.parametrize("execute", [0, 9])
def test_no_more_actions_than_the_chunk_has(execute):
    with pytest.raises(InputError, match="1 to 8"):
        agent(execute=execute)


def test_an_agent_may_give_up():
    expert = ExpertAgent()
    expert.start_episode = lambda env, instruction: setattr(
        expert, "_actions", iter([np.zeros(7), np.ones(7)])
    )
    assert run_episode(CountingEnv(), expert, "placement").steps == 2


def test_film_is_written_whole(tmp_path):
    film, env = Film(size=32), CountingEnv()
    run_episode(env, agent(), "placement", max_steps=9, after_step=film)
    film.write(tmp_path / "videos" / "episode.mp4")
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["episode.mp4"]
    import imageio_ffmpeg

    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "videos" / "episode.mp4"))
    assert frames == 9
