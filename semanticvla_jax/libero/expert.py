"""Scripted expert with privileged access to the simulator: a task's BDDL goal -> skills."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.expert_containers import put_in
from semanticvla_jax.libero.expert_fixtures import close, open_drawer, turn_knob
from semanticvla_jax.libero.expert_grasp import HOME_YAW
from semanticvla_jax.libero.expert_motion import Arm, pointing_down
from semanticvla_jax.libero.expert_scene import Scene
from semanticvla_jax.libero.expert_skills import Skill, SkillFailed, pick, place
from semanticvla_jax.libero.expert_sliding import slide

ATTEMPTS_PER_GOAL = 3
PLACE_GAP = 0.004  # m between a released object and what it is put on
SUPPORT_RADIUS = 0.03  # m around an object's origin where it carries what is put on it
SAME_REGION_SPREAD = 0.055  # m from the middle of a region that two objects share

Goal = list[str]  # [predicate, object] or [predicate, object, object or region]


class ScriptedExpert:
    """Plans and acts in an environment that has just been reset.

    Deterministic given the environment's states and the generator. `failures` collects a line for
    every skill that gave up; the expert then tries again from the state it finds.

    Raises InputError if the task's goal has a predicate no skill brings about.
    """

    def __init__(self, env, rng: np.random.Generator) -> None:
        self._holds = env.env._eval_predicate
        self._goals = in_order(env.goal_state)
        self.arm = Arm(Scene(env), rng)
        self.failures: list[str] = []

    def actions(self) -> Iterator[np.ndarray]:
        """Clean actions f64[7], each from the state at that moment; ends when the plan ends."""
        for attempt in range(ATTEMPTS_PER_GOAL * len(self._goals)):
            unmet = [goal for goal in self._goals if not self._holds(goal)]
            if not unmet:
                return
            if attempt > 0:
                yield from self.arm.withdraw(pointing_down(HOME_YAW))
            try:
                yield from self._bring_about(unmet[0])
            except SkillFailed as failure:
                self.failures.append(str(failure))

    def _bring_about(self, goal: Goal) -> Skill:
        predicate, *arguments = goal
        sharing = [other for other in self._goals if other[0] == "on" and other[2:] == goal[2:]]
        if goal in sharing and len(sharing) > 1:
            aside = SAME_REGION_SPREAD * (2 * sharing.index(goal) / (len(sharing) - 1) - 1)
            return put_on(self.arm, *arguments, aside=aside)
        return SKILL_OF_PREDICATE[predicate.lower()](self.arm, *arguments)


def in_order(goal_state: list[Goal]) -> list[Goal]:
    """The goals in an order in which they can be reached: close comes last."""
    for goal in goal_state:
        if goal[0].lower() not in SKILL_OF_PREDICATE:
            raise InputError(
                "goal predicate",
                found=goal,
                expected=f"one of {sorted(SKILL_OF_PREDICATE)}",
                fix="write a skill for it and add it to SKILL_OF_PREDICATE",
            )
    return sorted(goal_state, key=lambda goal: goal[0].lower() == "close")


def put_on(arm: Arm, name: str, target: str, aside: float = 0.0) -> Skill:
    """Onto another object or onto a region; plates slide to their region.

    aside: m along y from the middle, for objects that share the target.
    """
    scene = arm.scene
    if "plate" in name and not scene.is_object(target):
        yield from slide(arm, name, scene.site_position(target)[:2])
        return
    grasp = yield from pick(arm, name)
    if scene.is_object(target):
        points, center = scene.object_points(target), scene.object_position(target)
        middle = np.linalg.norm(points[:, :2] - center[:2], axis=1) < SUPPORT_RADIUS
        top = points[:, 2].max()
        support = points[middle, 2].max() if middle.any() else top
    else:
        center = scene.site_position(target)
        support = top = center[2]
    spot = center[:2] + [0.0, aside]
    yield from place(arm, name, grasp, spot, support + PLACE_GAP, top + 0.02)


SKILL_OF_PREDICATE = {
    "in": put_in,
    "on": put_on,
    "open": open_drawer,
    "close": close,
    "turnon": turn_knob,
}
