"""Moves what matters in a scene by a few centimetres, so that a task cannot be done without eyes.

Which object is the target and which the receptacle follows from the task's parsed goal; what
stands on or in what follows from its parsed initial state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco
import numpy as np

if TYPE_CHECKING:
    from semanticvla_jax.libero.env import LiberoEnv

_ATTEMPTS = 64
_ARM_JOINTS = tuple(f"robot0_joint{number}" for number in range(1, 8))
_TOUCHING = -1e-3  # contact distance (m) from which two things count as inside each other


@dataclass(frozen=True)
class Jitter:
    """Half widths of the uniform xy displacement (m), and the arm joints' standard deviation (rad).

    target: objects the goal wants moved. container: what they go into or onto, and fixtures the
    goal wants opened, closed or switched. others: every other movable object.
    """

    target: float = 0.06
    container: float = 0.03
    others: float = 0.01
    arm_joints: float = 0.02

    @property
    def key(self) -> str:
        return f"{self.target:g},{self.container:g},{self.others:g},{self.arm_joints:g}"


@dataclass(frozen=True)
class Group:
    """Things that move together: a support and everything on or in it."""

    support: str
    members: tuple[str, ...]
    amplitude: float


def apply_jitter(env: LiberoEnv, jitter: Jitter, entropy: Sequence[int]) -> None:
    """Displaces objects in xy and the arm's joints; call after a placement, before settling.

    Groups are drawn one after the other, targets first. A draw is rejected if it makes the group
    interpenetrate another group or the robot that it did not touch before, brings two objects
    nearer to each other than both before and the sum of their horizontal radii, or fulfils the
    task's goal. The k-th redraw (of at most 64) shrinks by k / 64, so that a crowded object ends
    where it stood.
    """
    rng = np.random.default_rng(list(entropy))
    scene = _Scene(env)
    for group in sorted(object_groups(env, jitter), key=lambda group: -group.amplitude):
        for attempt in range(_ATTEMPTS):
            shift = rng.uniform(-1, 1, 2) * group.amplitude * (1 - attempt / _ATTEMPTS)
            scene.shift(group, shift)
            if scene.is_acceptable(group):
                break
            scene.shift(group, -shift)
    data = env.sim.data._data
    for joint in _ARM_JOINTS:
        data.joint(joint).qpos += rng.normal(0, jitter.arm_joints)
    env.sim.forward()


def object_groups(env: LiberoEnv, jitter: Jitter) -> list[Group]:
    """Every group of the scene, with the amplitude its most important member asks for.

    A group on a fixture (cabinet, stove, drawer) takes the container's amplitude at most; a
    fixture that neither the goal nor a member names stays where it is.
    """
    robosuite_env = env.env
    targets, containers = goal_roles(env)
    members: dict[str, list[str]] = {}
    for name in robosuite_env.obj_body_id:
        members.setdefault(_root_support(robosuite_env, name), []).append(name)
    groups = []
    for support, names in members.items():
        fixed = robosuite_env.is_fixture(support)
        if targets & set(names):
            amplitude = jitter.container if fixed else jitter.target
        elif containers & set(names):
            amplitude = jitter.container
        else:
            amplitude = 0.0 if fixed else jitter.others
        groups.append(Group(support, tuple(names), amplitude))
    return groups


def goal_roles(env: LiberoEnv) -> tuple[set[str], set[str]]:
    """Names of the movable targets and of the containers or fixtures in the task's goal."""
    targets, containers = set(), set()
    for _, subject, *places in env.goal_state:
        owner = _owner(env.env, subject)
        (containers if env.env.is_fixture(owner) else targets).add(owner)
        containers.update(_owner(env.env, place) for place in places)
    return targets, containers - targets


def _owner(robosuite_env, place: str) -> str:
    """The object, fixture or table that `place` (itself, or a region of it) belongs to."""
    if place in robosuite_env.obj_body_id:
        return place
    regions = robosuite_env.parsed_problem["regions"]
    return regions[place]["target"] if place in regions else place


def _root_support(robosuite_env, name: str) -> str:
    """Follows 'on' and 'in' of the initial state down to the thing that stands on the table."""
    for predicate, *arguments in robosuite_env.parsed_problem["initial_state"]:
        if predicate in ("on", "in") and arguments[0] == name:
            support = _owner(robosuite_env, arguments[1])
            if support in robosuite_env.obj_body_id:
                return _root_support(robosuite_env, support)
    return name


class _Scene:
    """Positions and contacts of one environment's groups, compared with those at the start."""

    def __init__(self, env: LiberoEnv):
        self._env = env.env
        self._model, self._data = env.sim.model._model, env.sim.data._data
        self._body_of = dict(self._env.obj_body_id)
        self._thing_of_body = self._name_bodies()
        self._support_of = {name: _root_support(self._env, name) for name in self._body_of}
        mujoco.mj_fwdPosition(self._model, self._data)
        self._start_contacts = self._contacts()
        self._start_distances = self._distances()
        self._start_success = self._env._check_success()

    def shift(self, group: Group, shift: np.ndarray) -> None:
        """Moves every member of `group` by f[2] metres in xy."""
        for name in group.members:
            if self._env.is_fixture(name):
                self._model.body_pos[self._body_of[name]][:2] += shift
            else:
                joint = self._env.objects_dict[name].joints[-1]
                self._data.joint(joint).qpos[:2] += shift
        mujoco.mj_fwdPosition(self._model, self._data)

    def is_acceptable(self, group: Group) -> bool:
        touching = self._contacts() - self._start_contacts
        if any(group.support in pair for pair in touching):
            return False
        if self._env._check_success() and not self._start_success:
            return False
        for pair, distance in self._distances().items():
            first, second = pair
            if (self._support_of[first] == group.support) == (
                self._support_of[second] == group.support
            ):
                continue
            radii = sum(self._env.objects_dict[name].horizontal_radius for name in pair)
            if distance < min(self._start_distances[pair], radii):
                return False
        return True

    def _name_bodies(self) -> dict[int, str]:
        """Maps body ids to the object, fixture or 'robot' they are part of; scenery is absent."""
        roots = {body: name for name, body in self._body_of.items()}
        things: dict[int, str] = {}
        for body in range(1, self._model.nbody):
            name = self._model.body(body).name
            if body in roots:
                things[body] = roots[body]
            elif name.startswith(("robot0", "gripper0", "mount0")):
                things[body] = "robot"
            elif (parent := int(self._model.body_parentid[body])) in things:
                things[body] = things[parent]
        return things

    def _contacts(self) -> set[frozenset[str]]:
        """Pairs of groups (or the robot) that interpenetrate."""
        pairs = set()
        for contact in self._data.contact:
            if contact.dist < _TOUCHING:
                bodies = self._model.geom_bodyid[list(contact.geom)]
                things = [self._thing_of_body.get(int(body)) for body in bodies]
                supports = frozenset(self._support_of.get(thing, thing) for thing in things)
                if None not in supports and len(supports) == 2:
                    pairs.add(supports)
        return pairs

    def _distances(self) -> dict[tuple[str, str], float]:
        """Horizontal distances (m) between the centres of all pairs of movable objects."""
        names = sorted(self._env.objects_dict)
        centres = {name: self._data.xpos[self._body_of[name]][:2] for name in names}
        return {
            (first, second): float(np.linalg.norm(centres[first] - centres[second]))
            for index, first in enumerate(names)
            for second in names[index + 1 :]
        }
