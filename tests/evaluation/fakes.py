"""Environments, agents and policies that take microseconds; importable by worker processes."""

from __future__ import annotations

import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semanticvla_jax.evaluation.agents import Asked, PolicyAgent
from semanticvla_jax.evaluation.runner import Job, Setup
from semanticvla_jax.evaluation.served import Answer


@dataclass(frozen=True)
class FakeTask:
    index: int
    suite: str = "libero_object"

    @property
    def name(self) -> str:
        return f"task_{self.index}"


@dataclass(frozen=True)
class FakePlacement:
    index: int

    @property
    def key(self) -> str:
        return f"official:{self.index}"


class FakeEnv:
    """A chaotic map of one number per action dimension; nearby states part within ten steps."""

    instruction = "stir"

    def __init__(self, job: Job, image_size: int):
        self.task = job.task

    def reset(self, placement: FakePlacement) -> None:
        self.placement = placement
        seed = [self.task.index, placement.index]
        self.state = np.random.default_rng(seed).uniform(0.2, 0.8, 7)

    def observe(self) -> dict[str, np.ndarray]:
        return {"state": self.state.astype(np.float32)}

    def step(self, action: np.ndarray) -> bool:
        self.state = 3.9 * self.state * (1 - self.state) + 1e-3 * (np.abs(action) % 1)
        self.state %= 1.0
        return bool(self.state[0] > 0.94)

    def close(self) -> None:
        pass


class MeetingEnv(FakeEnv):
    """Its first episode waits until as many processes have one, so that each gets some."""

    def __init__(self, meeting: Path, processes: int, job: Job, image_size: int):
        super().__init__(job, image_size)
        self._meeting, self._processes = meeting, processes

    def reset(self, placement: FakePlacement) -> None:
        (self._meeting / str(os.getpid())).touch()
        while len(list(self._meeting.iterdir())) < self._processes:
            time.sleep(0.01)
        super().reset(placement)


class FaultyEnv(FakeEnv):
    """Strikes at the first step of some episodes, once each; files remember which it did."""

    def __init__(self, faults: dict[int, str], memory: Path, job: Job, image_size: int):
        super().__init__(job, image_size)
        self._faults, self._memory = faults, memory

    def step(self, action: np.ndarray) -> bool:
        fault = self._faults.get(self.placement.index)
        mark = self._memory / f"{self.task.index}_{self.placement.index}"
        if fault and not mark.exists():
            mark.touch()
            strike(fault)
        return super().step(action)


def strike(fault: str) -> None:
    if fault == "exception":
        raise RuntimeError("simulator exploded")
    if fault == "exit":
        os._exit(9)
    if fault == "hang":
        time.sleep(3600)


class FakeInterface:
    chunk, camera_size = 4, 8

    def prepare(self, observation: dict) -> dict[str, np.ndarray]:
        return {"state": observation["state"]}

    def finish(self, actions: np.ndarray) -> np.ndarray:
        return actions


class FakePolicy:
    """Answers after `seconds`, from the state alone."""

    def __init__(self, seconds: float = 0.0, sizes: tuple[int, ...] = (4,)):
        self._seconds, self.sizes = seconds, sizes

    def answer(self, queries) -> list[Answer]:
        assert len(queries) <= max(self.sizes)
        time.sleep(self._seconds)
        chunk = np.arange(1, 5, dtype=np.float32)[:, None]
        return [Answer(np.sin(chunk * query.inputs["state"]), len(queries)) for query in queries]


class DyingPolicy(FakePolicy):
    """Dies once while it serves, which a file remembers."""

    def __init__(self, memory: Path, fault: str):
        super().__init__()
        self._memory, self._fault = memory, fault

    def answer(self, queries):
        if not self._memory.exists():
            self._memory.touch()
            strike(self._fault)
        return super().answer(queries)


class RememberingPolicy(FakePolicy):
    """What it answers depends on all that the episode has asked, and on nothing else.

    `kept` says how many queries it remembers, this one included.
    """

    def answer(self, queries) -> list[Answer]:
        answers = []
        for query, answer in zip(queries, super().answer(queries), strict=True):
            total, count = query.memory or (np.zeros(7, np.float32), 0)
            assert (count > 0) == (query.last_action is not None)
            total, count = 0.5 * total + query.inputs["state"], count + 1
            actions = np.sin(answer.actions + total)
            kept = np.arange(7) < count
            answers.append(
                answer._replace(actions=actions, memory=(total, count), kept=kept, slots=(7,))
            )
        return answers


class DyingRemembering(RememberingPolicy):
    """Dies at its fifth batch, once, which a file remembers."""

    def __init__(self, memory: Path):
        super().__init__()
        self._memory, self._batches = memory, 0

    def answer(self, queries):
        self._batches += 1
        if self._batches == 5 and not self._memory.exists():
            self._memory.touch()
            strike("exit")
        return super().answer(queries)


make_agent = functools.partial(PolicyAgent, FakeInterface(), None, None)


def setup(make_env=FakeEnv, make_policy=FakePolicy, max_steps: int = 24) -> Setup:
    return Setup(make_env, make_agent, make_policy, max_steps)


def jobs(tasks: int, episodes: int) -> list[Job]:
    return [
        Job(FakeTask(task), FakePlacement(index))
        for task in range(tasks)
        for index in range(episodes)
    ]


class ForwardAgent:
    """Moves the hand forward, three actions per query."""

    camera_size = 32

    def __init__(self, ask):
        self.explain = False

    def start_episode(self, env, instruction):
        pass

    def act(self, env, step):
        return np.tile([0.5, 0, 0, 0, 0, 0, -1], (3, 1)), Asked(step, 0.001)


class FailsOnce(ForwardAgent):
    """Raises in the first episode ever, which a file remembers."""

    def __init__(self, memory: Path, fault: str, ask):
        super().__init__(ask)
        self._memory, self._fault = memory, fault

    def act(self, env, step):
        if not self._memory.exists():
            self._memory.write_text("failed")
            strike(self._fault)
        return super().act(env, step)


class NanAgent(ForwardAgent):
    def act(self, env, step):
        return np.full((1, 7), np.nan), Asked(step, 0.001)
