"""SP-VLA's scheduler around a policy: easy stretches are extrapolated (arXiv 2506.12723)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from semanticvla_jax.accelerate.ridge import extrapolate
from semanticvla_jax.accelerate.scheduler import ActionBuffer, Scheduler
from semanticvla_jax.accelerate.wrapper import PolicyWrapper
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Who acts, and how the generator acts; `around` a policy.

    Attributes:
      scheduler: decides.
      strength: lambda of the ridge regression; the paper does not give it.
    """

    scheduler: Scheduler = Scheduler()
    strength: float = 0.1
    name: str = "sp_vla_schedule"

    def around(self, policy: Any, execute: int) -> ScheduledPolicy:
        return ScheduledPolicy(policy, self, execute)


class Generator:
    """Continues what was executed where the scheduler lets it; remembers nothing itself.

    With `execute` = 1 this is the paper's per-step form; otherwise it decides once per chunk, and
    proposes as many actions as the policy's would be executed. Proposals keep the gripper where it
    is. Validity, of which the paper says no more than that it is checked: an action that is not
    finite or beyond what the robot's controller takes is not proposed.
    """

    def __init__(self, schedule: Schedule, robot: RobotSpec, execute: int):
        """Of a robot that executes `execute` actions of each chunk.

        Raises:
          InputError: the robot's actions are no velocities of a hand.
        """
        kinds = robot.action_kinds
        if robot.absolute or "translation" not in kinds:
            raise InputError(
                f"actions of robot '{robot.name}'",
                found=robot.action_frame,
                expected="relative motions of a hand, whose translation is a velocity",
                fix="accelerate without sp_vla",
            )
        self._schedule, self._execute, self._size = schedule, execute, robot.action_size
        self._translation, self._held = kinds["translation"], list(kinds.get("gripper", ()))
        self._low = np.array([dimension.low for dimension in robot.action])
        self._high = np.array([dimension.high for dimension in robot.action])

    def begin(self) -> ActionBuffer:
        """Of an episode in which nothing was executed yet."""
        return ActionBuffer.empty(self._size)

    def propose(self, buffer: ActionBuffer) -> np.ndarray | None:
        """f32[execute, A], or None where the policy is to be asked."""
        if not self._schedule.scheduler.may_skip(buffer, self._translation):
            return None
        actions = extrapolate(buffer.actions, self._schedule.strength, self._execute)
        actions[:, self._held] = buffer.actions[-1, self._held]
        inside = (actions >= self._low) & (actions <= self._high)
        return actions.astype(np.float32) if inside.all() else None

    def after(self, buffer: ActionBuffer, actions: np.ndarray, by_model: bool) -> ActionBuffer:
        """The buffer when the first `execute` of f[n, A] were executed too."""
        executed = actions[: self._execute]
        return buffer.append(executed, by_model, self._schedule.scheduler.length)


class ScheduledPolicy(PolicyWrapper):
    """Before each query the scheduler looks at what was executed, and asks the policy or does not.

    Attributes:
      buffer: the episode's state.
      asked: of each query of the episode, whether the policy was asked.
    """

    def __init__(self, policy: Any, schedule: Schedule, execute: int):
        """Wraps.

        Raises:
          InputError: as Generator.
        """
        super().__init__(policy, [schedule.name], execute)
        self._generator = Generator(schedule, policy.robot, execute)
        self.start_episode()

    def start_episode(self) -> None:
        self.policy.start_episode()
        self.buffer = self._generator.begin()
        self.asked: list[bool] = []

    def infer(self, observation: Mapping[str, Any]) -> np.ndarray:
        actions = self._generator.propose(self.buffer)
        by_model = actions is None
        if by_model:
            if len(self.buffer.actions):
                observation = {**observation, "last_action": self.buffer.actions[-1]}
            actions = self.policy.infer(observation)
        self.asked.append(by_model)
        self.buffer = self._generator.after(self.buffer, actions, by_model)
        return actions
