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


class ScheduledPolicy(PolicyWrapper):
    """Before each query the scheduler looks at what was executed, and asks the policy or does not.

    With `execute` = 1 this is the paper's per-step form; otherwise it decides once per chunk, and
    the generator answers with as many actions as the policy's would be executed. Extrapolated
    actions keep the gripper where it is. Validity, of which the paper says no more than that it is
    checked: an action that is not finite or beyond what the robot's controller takes is not
    used, and the policy is asked.

    Attributes:
      buffer: the episode's state.
      asked: of each query of the episode, whether the policy was asked.
    """

    def __init__(self, policy: Any, schedule: Schedule, execute: int):
        """Wraps.

        Raises:
          InputError: the robot's actions are no velocities of a hand.
        """
        super().__init__(policy, [schedule.name], execute)
        kinds = policy.robot.action_kinds
        if policy.robot.absolute or "translation" not in kinds:
            raise InputError(
                f"actions of robot '{policy.robot.name}'",
                found=policy.robot.action_frame,
                expected="relative motions of a hand, whose translation is a velocity",
                fix="accelerate without sp_vla",
            )
        self._translation, self._held = kinds["translation"], list(kinds.get("gripper", ()))
        self._low = np.array([dimension.low for dimension in policy.robot.action])
        self._high = np.array([dimension.high for dimension in policy.robot.action])
        self._schedule = schedule
        self.start_episode()

    def start_episode(self) -> None:
        self.policy.start_episode()
        self.buffer = ActionBuffer.empty(self.policy.robot.action_size)
        self.asked: list[bool] = []

    def infer(self, observation: Mapping[str, Any]) -> np.ndarray:
        actions, by_model = self._extrapolated(), False
        if actions is None:
            actions, by_model = self._asked(observation), True
        self.asked.append(by_model)
        length = self._schedule.scheduler.length
        self.buffer = self.buffer.append(actions[: self.execute], by_model, length)
        return actions

    def _asked(self, observation: Mapping[str, Any]) -> np.ndarray:
        if len(self.buffer.actions):
            observation = {**observation, "last_action": self.buffer.actions[-1]}
        return self.policy.infer(observation)

    def _extrapolated(self) -> np.ndarray | None:
        """f32[execute, A], or None where the policy is to be asked."""
        if not self._schedule.scheduler.may_skip(self.buffer, self._translation):
            return None
        actions = extrapolate(self.buffer.actions, self._schedule.strength, self.execute)
        actions[:, self._held] = self.buffer.actions[-1, self._held]
        inside = (actions >= self._low) & (actions <= self._high)
        return actions.astype(np.float32) if inside.all() else None
