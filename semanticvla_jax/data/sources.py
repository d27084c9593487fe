"""Opens datasets of every format that training reads; the files say which it is."""

from __future__ import annotations

from pathlib import Path

from semanticvla_jax.data import rlds
from semanticvla_jax.data.episodes import EpisodeSource, Tell, refuse
from semanticvla_jax.robots import RobotSpec

_LEROBOT = Path("meta", "info.json")


def open_datasets(path: str | Path, robot: RobotSpec, tell: Tell = refuse) -> list[EpisodeSource]:
    """Every dataset at or below `path`: LeRobot's where there is a meta/info.json, else RLDS.

    Args:
      path: a dataset, or a directory of several of one format.
      robot: whose cameras, state and actions to read.
      tell: takes each damaged file or episode; what it does not raise is left out.

    Raises:
      InputError: nothing there, or what `lerobot.open_dataset` and `rlds.open_dataset` raise.
    """
    path = Path(path).expanduser()
    found = [path] if (path / _LEROBOT).is_file() else sorted(_children(path))
    if not found:
        return rlds.open_datasets(path, robot, tell)
    from semanticvla_jax.data import lerobot  # PyAV and pyarrow, which RLDS does not need

    return [lerobot.open_dataset(directory, robot, tell) for directory in found]


def _children(path: Path) -> list[Path]:
    return [info.parents[1] for info in path.glob(f"*/{_LEROBOT}")]
