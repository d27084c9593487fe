"""What stages before the decoder have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate.selection import compact


class Stage:
    """Hands on the same number of tokens always, remembers nothing, wants to know nothing else."""

    levels: tuple[float, ...] = ()

    def prepare(self, batch: Mapping[str, Any], last_action, robot, grid: int) -> dict[str, Any]:
        """What it wants to know of an observation besides the model's inputs; leading [B].

        Args:
          batch: the model's inputs, B = 1.
          last_action: f[A] executed before, in the controller's units; None at first.
          robot: RobotSpec.
          grid: patches along an image's side.
        """
        return {}

    def begin(self, batch: int) -> Any:
        """State of episodes that begin."""
        return None


def choosing(mask: jax.Array, size: int) -> jax.Array:
    """Weights f32[n, size, h] that pick the anchors of mask bool[n, h], in order."""
    index, valid = compact(mask, size)
    return jax.nn.one_hot(index, mask.shape[1]) * valid[..., None].astype(jnp.float32)
