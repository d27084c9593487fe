"""What a policy would do at every step of a demonstration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semanticvla_jax.data.chunks import ChunkSource, ValidationSample, repeat_last
from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.policy import Policy

TARGETS = "actions"


@dataclass(frozen=True)
class Prediction:
    """T steps of an episode; at each, the policy saw the demonstration, not its own doing.

    Attributes:
      episode: its number in the dataset.
      instruction: the task.
      demonstrated: f32[T, A] in the robot's units.
      predicted: f32[T, K, A] in the robot's units; [t, k] is meant for step t + k.
      targets: f32[T, K, A], what was demonstrated at t + k, normalised as in training.
      answers: f32[T, K, A], what was predicted, normalised.
    """

    episode: int
    instruction: str
    demonstrated: np.ndarray
    predicted: np.ndarray
    targets: np.ndarray
    answers: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """bool[T, K]: t + k is a step of the episode."""
        steps, chunk = self.answers.shape[:2]
        return np.arange(steps)[:, None] + np.arange(chunk) < steps


def predict(
    policy: Policy, dataset: EpisodeSource, episode: int, batch_size: int = 8
) -> Prediction:
    """Asks the policy at every step of one episode, images as at rollout.

    Raises:
      InputError: an image cannot be read, or the instruction is too long.
    """
    source = ChunkSource.of(
        dataset, [episode], policy.statistics, policy.robot, policy.tokenizer, repeat_last
    )
    read = ValidationSample(policy.transform)
    targets, answers = [], []
    for first in range(0, len(source), batch_size):
        numbers = np.arange(first, first + batch_size)
        rows = [read(source[int(number)]) for number in np.minimum(numbers, len(source) - 1)]
        targets += [row.pop(TARGETS) for row in rows]
        answers += list(policy.compute(rows))
    answered = np.stack(answers[: len(source)])
    start, stop = dataset.episode_start[episode : episode + 2]
    return Prediction(
        episode=episode,
        instruction=dataset.instructions[episode],
        demonstrated=np.asarray(dataset.actions[start:stop]),
        predicted=policy.finish(answered),
        targets=np.stack(targets[: len(source)]),
        answers=answered,
    )
