"""A LIBERO episode over the network, to success, by openpi's client as published and by ours.

The served policy is a recording of the scripted expert: it knows the action for each state that it
has seen, bit for bit, and no other. With SEMANTICVLA_TRAINED_RUN, the work directory of a policy
that knows the task (`make demo` leaves one), a trained policy is served as well.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from semanticvla_jax.client.chunk_runner import ChunkRunner, immediate
from semanticvla_jax.client.plans import Hold
from semanticvla_jax.client.policy_client import PolicyClient
from tests.serving.openpi import openpi_robot
from tests.serving.running import FakePolicy, running
from tests.serving.test_serve_command import process

pytestmark = [pytest.mark.slow, pytest.mark.sim, pytest.mark.timeout(1200)]
STEPS = 280


@dataclass
class Recording(FakePolicy):
    """Answers each recorded state f32[T, 8] with the actions f32[T, 7] from there on."""

    states: np.ndarray = field(default_factory=lambda: np.zeros((1, 8), np.float32))
    actions: np.ndarray = field(default_factory=lambda: np.zeros((1, 7), np.float32))

    def forward(self, params, batch) -> np.ndarray:
        return np.stack([self._chunk(state) for state in batch["state"]])

    def _chunk(self, state: np.ndarray) -> np.ndarray:
        found = np.flatnonzero((self.states == state).all(axis=1))
        start = found[0] if len(found) else 0
        return np.resize(self.actions[start : start + self.chunk], (self.chunk, 7))


@pytest.fixture(scope="module")
def env():
    from semanticvla_jax.libero.env import LiberoEnv
    from semanticvla_jax.libero.suites import find_task

    with contextlib.closing(LiberoEnv(find_task("libero_object", "0"), image_size=64)) as env:
        yield env


@pytest.fixture(scope="module")
def recording(env) -> Recording:
    from semanticvla_jax.libero.expert import ScriptedExpert
    from semanticvla_jax.libero.placement import Official

    states, actions = [], []
    env.reset(Official(0))
    for action in ScriptedExpert(env, np.random.default_rng(0)).actions():
        states.append(env.observe(images=False)["state"])
        actions.append(np.asarray(action, np.float32))
        if env.step(actions[-1]):
            break
    return Recording(camera_size=64, states=np.array(states), actions=np.array(actions))


def drive(env, infer: Callable, metadata: dict) -> tuple[bool, int]:
    from semanticvla_jax.libero.placement import Official
    from semanticvla_jax.serving.libero_robot import run_episode

    runner = ChunkRunner(immediate(infer), every=4, when_late=Hold.on(metadata))
    return run_episode(env, Official(0), runner, max_steps=STEPS)


def test_by_our_client(env, recording):
    with running(recording) as server, server.client(robot="libero") as client:
        assert drive(env, client.infer, client.metadata) == (True, len(recording.actions))


def test_by_openpi(env, recording, openpi_python):
    with running(recording) as server:
        with openpi_robot(openpi_python, "localhost", str(server.server.port)) as robot:
            ended = drive(env, lambda seen: robot.infer(seen)["actions"], robot.metadata)
    assert ended == (True, len(recording.actions))


def test_a_recording_of_another_scene_fails(env, recording):
    """So the robot above was really driven by what came over the network."""
    still = Recording(camera_size=64, states=recording.states, actions=0 * recording.actions)
    with running(still) as server, server.client() as client:
        assert drive(env, client.infer, client.metadata) == (False, STEPS)


def test_a_trained_policy_by_openpi(openpi_python):
    run = os.environ.get("SEMANTICVLA_TRAINED_RUN")
    if not run:
        pytest.skip("SEMANTICVLA_TRAINED_RUN names no trained policy of libero_object's first task")
    from semanticvla_jax.libero.env import LiberoEnv
    from semanticvla_jax.libero.suites import find_task

    flags = ("--checkpoint", run, "--port", "0", "--batch_sizes", "1")
    with process(*flags, module="semanticvla_jax.serve") as (_, url):
        with PolicyClient(url, robot="libero") as client:
            size = client.camera_size
        task = find_task("libero_object", "0")
        with (
            openpi_robot(openpi_python, "localhost", url.rpartition(":")[2]) as robot,
            contextlib.closing(LiberoEnv(task, image_size=size)) as env,
        ):
            success, steps = drive(env, lambda seen: robot.infer(seen)["actions"], robot.metadata)
    print(f"{success=} {steps=}")
    assert success
