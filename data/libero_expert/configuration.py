"""What a dataset is generated from: everything that decides its content, and nothing else."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from data.libero_expert.perturbation import Noise
from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.suites import SUITES

IMAGE_SIZES = range(64, 513, 16)
RENDERINGS = ("fast", "original")
LARGEST_JITTER = 0.15


@dataclass(frozen=True)
class Configuration:
    """Two runs with equal configurations (and equal simulator assets) make equal datasets."""

    suite: str
    tasks: tuple[int, ...]
    """Indices within the suite."""
    episodes: int
    """Successful episodes per task."""
    image_size: int = 128
    """Pixels per side, both cameras."""
    jitter: float | None = 0.06
    """Largest displacement (m) of the target from where the task's sampler puts it, or None."""
    seed: int = 1
    rendering: str = "fast"
    noise: Noise = Noise()

    def __post_init__(self):
        if self.episodes <= 0:
            raise InputError(
                "--episodes",
                found=self.episodes,
                expected="at least 1 successful episode per task",
                fix="for example --episodes 120",
            )
        if self.image_size not in IMAGE_SIZES:
            raise InputError(
                "--image_size",
                found=self.image_size,
                expected=f"a multiple of {IMAGE_SIZES.step} from {IMAGE_SIZES[0]} "
                f"to {IMAGE_SIZES[-1]} pixels",
                fix="for example --image_size 128, or 256 as the public datasets",
            )
        if self.jitter is not None and not 0 < self.jitter <= LARGEST_JITTER:
            raise InputError(
                "--jitter",
                found=self.jitter,
                expected=f"metres, more than 0 and at most {LARGEST_JITTER}, or none",
                fix="for example --jitter 0.06",
            )
        if self.seed < 0:
            raise InputError("--seed", found=self.seed, expected="0 or more", fix="--seed 1")
        if self.rendering not in RENDERINGS:
            raise InputError(
                "--rendering",
                found=self.rendering,
                expected=" or ".join(RENDERINGS),
                fix="for example --rendering fast",
            )

    @property
    def dataset_name(self) -> str:
        """The name of the public dataset of this suite."""
        return f"{self.suite}_no_noops"

    @property
    def total_episodes(self) -> int:
        return self.episodes * len(self.tasks)

    def episode_seed(self, task: int, number: int) -> int:
        """The seed of attempt `number` at `task`: the same in every run of this configuration."""
        entropy = [self.seed, SUITES.index(self.suite), task, number]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def to_json(self) -> dict:
        return {**dataclasses.asdict(self), "tasks": list(self.tasks)}


def differences(found: dict, wanted: dict) -> list[str]:
    """Names of the entries in which two configurations differ, noise parameters included."""

    def flat(settings: dict) -> dict:
        noise = settings.get("noise") or {}
        plain = {key: value for key, value in settings.items() if key != "noise"}
        return plain | {f"noise.{key}": value for key, value in noise.items()}

    found, wanted = flat(found), flat(wanted)
    return sorted(key for key in found | wanted if found.get(key) != wanted.get(key))
