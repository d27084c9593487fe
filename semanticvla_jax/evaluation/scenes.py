"""Environments for jobs."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.runner import Job
from semanticvla_jax.libero.boot import boot
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
            assets=self._assets_here(),
            seed=job.seed,
        )

    def _assets_here(self) -> Assets:
        """The same assets on this machine, which may be another than the one that planned.

        Raises:
          InputError: there are none, or others.
        """
        if self.assets.path.is_dir():
            return self.assets
        found = boot("generated" if self.assets.kind == "generated" else None)
        if found.digest != self.assets.digest:
            raise InputError(
                f"LIBERO assets on {platform.node()}",
                found=f"{found.kind} ones, {found.digest}",
                expected=f"{self.assets.kind} ones, {self.assets.digest}, in {self.assets.path}",
                fix="put the same assets under the same path on every node",
            )
        return found
