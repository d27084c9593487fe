"""Scripted expert with privileged access to the simulator: a task's BDDL goal -> skills."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.expert_fixtures import OPENED, close, open_drawer, turn_knob
from semanticvla_jax.libero.expert_motion import Arm
from semanticvla_jax.libero.expert_scene import Scene
from semanticvla_jax.libero.expert_skills import Skill, SkillFailed, pick, place
from semanticvla_jax.libero.expert_sliding import drag

ATTEMPTS_PER_GOAL = 3
PLACE_GAP = 0.004  # m between a released object and what it is put on
SUPPORT_RADIUS = 0.03  # m around an object's origin where it carries what is put on it

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
        for _ in range(ATTEMPTS_PER_GOAL * len(self._goals)):
            unmet = [goal for goal in self._goals if not self._holds(goal)]
            if not unmet:
                return
            predicate, *arguments = unmet[0]
            try:
                yield from SKILL_OF_PREDICATE[predicate.lower()](self.arm, *arguments)
            except SkillFailed as failure:
                self.failures.append(str(failure))


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


def put_in(arm: Arm, name: str, region: str) -> Skill:
    """Into a basket, a drawer (opened first if need be) or another region."""
    joint = arm.scene.slide_joint_of_region(region)
    if joint is not None and abs(arm.scene.joint_value(joint)) < 0.8 * OPENED:
        yield from open_drawer(arm, region)
    grasp = yield from pick(arm, name)
    center = arm.scene.site_position(region)
    release, travel = (0.0, 0.10) if "basket" in region else (-0.02, 0.05)
    yield from place(arm, name, grasp, center[:2], center[2] + release, center[2] + travel)


def put_on(arm: Arm, name: str, target: str) -> Skill:
    """Onto another object or onto a region; plates are dragged to their region."""
    scene = arm.scene
    if "plate" in name and not scene.is_object(target):
        yield from drag(arm, name, scene.site_position(target)[:2])
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
    yield from place(arm, name, grasp, center[:2], support + PLACE_GAP, top + 0.02)


SKILL_OF_PREDICATE = {
    "in": put_in,
    "on": put_on,
    "open": open_drawer,
    "close": close,
    "turnon": turn_knob,
}
