"""Plays the scripted expert in the simulator and records what it sees and wants to do."""

from __future__ import annotations

import numpy as np

from data.libero_expert.configuration import Configuration
from data.libero_expert.episode import Episode, Recording
from data.libero_expert.perturbation import Perturbation
from data.libero_expert.staging import Attempt, Failure
from semanticvla_jax.data.images import encode_jpeg
from semanticvla_jax.libero.assets.resolve import Assets
from semanticvla_jax.libero.env import LiberoEnv
from semanticvla_jax.libero.expert import ScriptedExpert
from semanticvla_jax.libero.jitter import Jitter
from semanticvla_jax.libero.placement import Sampled
from semanticvla_jax.libero.rendering import RENDERINGS
from semanticvla_jax.libero.suites import MAX_STEPS, find_task


def jitter_of(target: float | None) -> Jitter | None:
    """Target +-`target` m, container half of it, other objects a sixth; arm joints as usual."""
    if target is None:
        return None
    return Jitter(target=target, container=target / 2, others=target / 6)


class SimulatorRecorder:
    """Records attempts; keeps the environment of the last task, since making one takes seconds."""

    def __init__(self, configuration: Configuration, assets: Assets):
        self._configuration, self._assets = configuration, assets
        self._env: LiberoEnv | None = None

    def __call__(self, attempt: Attempt) -> Episode | Failure:
        env = self._environment(attempt.task)
        configuration = self._configuration
        env.reset(Sampled(attempt.seed, jitter_of(configuration.jitter)))
        for_expert, for_noise = np.random.default_rng(attempt.seed).spawn(2)
        return record_attempt(
            env,
            ScriptedExpert(env, for_expert),
            Perturbation(configuration.noise, for_noise),
            step_limit=MAX_STEPS[configuration.suite],
            source=f"{configuration.suite}/{env.task.name}/"
            f"attempt_{attempt.number:05d}_seed_{attempt.seed}",
        )

    def _environment(self, index: int) -> LiberoEnv:
        if self._env is not None and self._env.task.index == index:
            return self._env
        if self._env is not None:
            self._env.close()
        self._env = LiberoEnv(
            find_task(self._configuration.suite, index),
            image_size=self._configuration.image_size,
            rendering=RENDERINGS[self._configuration.rendering],
            assets=self._assets,
        )
        return self._env


def record_attempt(
    env: LiberoEnv,
    expert: ScriptedExpert,
    perturbation: Perturbation,
    *,
    step_limit: int,
    source: str,
) -> Episode | Failure:
    """Runs the expert from the environment's present state until success or `step_limit`.

    The simulator executes the perturbed action; the clean one is recorded, with the observation
    it answers to.
    """
    recording = Recording()
    workspace_height = env.env.workspace_offset[2]
    steps = 0
    for action in expert.actions():
        if steps == step_limit:
            break
        wanted = recording.wants(action)
        observation = env.observe(images=wanted)
        if wanted:
            recording.append(
                image=encode_jpeg(observation["image"]),
                wrist_image=encode_jpeg(observation["wrist_image"]),
                state=observation["state"],
                joint_state=observation["joint_state"],
                action=action,
            )
        steps += 1
        height = float(observation["state"][2] - workspace_height)
        if env.step(perturbation(action, height)):
            return recording.finish(instruction=env.instruction, source=source)
    given_up = f" ({'; '.join(expert.failures)})" if expert.failures else ""
    return Failure(f"the goal was not reached in {steps} steps{given_up}", steps)
