"""Who decides what the robot does: a policy that is asked, or the scripted expert."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.served import Ask, Query
from semanticvla_jax.libero.env import LiberoEnv


@dataclass
class Asked:
    """One question that an agent asked in an episode.

    Attributes:
      step: how many steps had been made.
      seconds: the answer took, waiting for others included, rendering excluded.
      render_seconds: the images took.
      batch: queries that were answered together.
      by_model: whether the policy was asked at all; else its actions were extrapolated.
      kept, slots: of an accelerated policy: see accelerate.turns.Outcome.
      inputs, chunk, details, words: what the policy was given, f32[K, 7] all that it answered in
        the controller's units, its intermediates and the words it read, where they are kept.
    """

    step: int
    seconds: float
    render_seconds: float = 0.0
    batch: int = 1
    inputs: dict[str, np.ndarray] | None = None
    chunk: np.ndarray | None = None
    details: dict[str, Any] | None = None
    words: list[str] | None = None
    by_model: bool = True
    kept: np.ndarray | None = None
    slots: tuple[int, ...] | None = None


class Agent(Protocol):
    """Turns what it observes into actions.

    Attributes:
      camera_size: side (px) of the images it wants from the simulator.
      explain: whether to keep what the policy saw and thought.
    """

    camera_size: int
    explain: bool

    def start_episode(self, env: LiberoEnv, instruction: str) -> None: ...

    def act(self, env: LiberoEnv, step: int) -> tuple[np.ndarray, Asked]:
        """f[n, 7] simulator actions to execute open loop; n = 0 gives up."""
        ...


class PolicyAgent:
    """Asks a policy, executes the first `execute` actions of its chunk, then asks again.

    Attributes:
      last_action: f[7] executed before the next query; None at an episode's begin.
    """

    def __init__(self, interface, execute: int | None, sentence: str | None, ask: Ask):
        """Asks by `ask`.

        Args:
          interface: the policy's `semanticvla_jax.interface.Interface`.
          execute: actions per query; None means the whole chunk, as in the OpenVLA-OFT protocol.
          sentence: said instead of each task's own, to see whether the policy listens.
          ask: answers queries with normalised actions.

        Raises:
          InputError: `execute` is not between 1 and the policy's chunk length.
        """
        execute = interface.chunk if execute is None else execute
        if not 1 <= execute <= interface.chunk:
            raise InputError(
                "actions to execute per query",
                found=execute,
                expected=f"1 to {interface.chunk}, the policy's chunk length",
                fix="change --execute",
            )
        self.interface, self.execute, self.sentence = interface, execute, sentence
        self.camera_size, self.explain, self._ask = interface.camera_size, False, ask

    def start_episode(self, env: LiberoEnv, instruction: str) -> None:
        self.instruction = self.sentence or instruction
        self.last_action: np.ndarray | None = None
        self._memory: tuple[np.ndarray, ...] | None = None

    def act(self, env: LiberoEnv, step: int) -> tuple[np.ndarray, Asked]:
        began = time.perf_counter()
        observation = {**env.observe(), "instruction": self.instruction}
        rendered = time.perf_counter()
        inputs = self.interface.prepare(observation)
        answer = self._ask(Query(inputs, self.explain, self.last_action, self._memory))
        actions = self.interface.finish(answer.actions)
        asked = Asked(step, time.perf_counter() - rendered, rendered - began, answer.batch)
        asked.kept, asked.slots = answer.kept, answer.slots
        self._memory, self.last_action = answer.memory, actions[self.execute - 1]
        if self.explain:
            asked.inputs, asked.chunk, asked.details = inputs, actions, answer.details
            asked.words = self.interface.words(inputs["text_ids"])
        return actions[: self.execute], asked


class SuiteAgent:
    """In each suite another agent: a policy trained on several has a normalisation for each."""

    def __init__(self, agents: Mapping[str, Agent]):
        """Of the agents, by suite; all take images of one size."""
        self._agents = agents
        self.camera_size, self.explain = next(iter(agents.values())).camera_size, False

    def start_episode(self, env: LiberoEnv, instruction: str) -> None:
        self._agent = self._agents[env.task.suite]
        self._agent.explain = self.explain
        self._agent.start_episode(env, instruction)

    def act(self, env: LiberoEnv, step: int) -> tuple[np.ndarray, Asked]:
        return self._agent.act(env, step)


class ExpertAgent:
    """The scripted expert, which sees the simulator's state instead of images."""

    camera_size = 128

    def __init__(self, ask: Ask | None = None):
        """Asks nobody."""
        self.explain = False

    def start_episode(self, env: LiberoEnv, instruction: str) -> None:
        from semanticvla_jax.libero.expert import ScriptedExpert

        self._actions = ScriptedExpert(env, np.random.default_rng(0)).actions()

    def act(self, env: LiberoEnv, step: int) -> tuple[np.ndarray, Asked]:
        began = time.perf_counter()
        action = next(self._actions, None)
        actions = np.empty((0, 7)) if action is None else np.asarray(action)[None]
        return actions, Asked(step, time.perf_counter() - began)
