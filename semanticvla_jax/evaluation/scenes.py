"""Environments for jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from semanticvla_jax.evaluation.runner import Job
from semanticvla_jax.libero.env import LiberoEnv

if TYPE_CHECKING:
    from semanticvla_jax.libero.assets.resolve import Assets
    from semanticvla_jax.libero.rendering import Rendering


@dataclass(frozen=True)
class LiberoScenes:
    """Builds the LIBERO environment of a job's scene."""

    assets: Assets
    rendering: Rendering

    def __call__(self, job: Job, image_size: int) -> LiberoEnv:
        return LiberoEnv(
            job.task,
            image_size=image_size,
            rendering=self.rendering,
            assets=self.assets,
            seed=job.seed,
        )
