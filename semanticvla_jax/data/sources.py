"""Opens datasets of every format that training reads."""

from __future__ import annotations

from pathlib import Path

from semanticvla_jax.data import rlds
from semanticvla_jax.data.episodes import EpisodeSource, Tell, refuse
from semanticvla_jax.robots import RobotSpec


def open_datasets(path: str | Path, robot: RobotSpec, tell: Tell = refuse) -> list[EpisodeSource]:
    """Every dataset at or below `path`.

    Raises:
      InputError: nothing there, or what `rlds.open_dataset` raises.
    """
    return rlds.open_datasets(path, robot, tell)
