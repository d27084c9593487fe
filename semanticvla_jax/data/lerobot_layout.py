"""Where a LeRobot dataset keeps its episodes: format versions 2.x and 3.0.

Version 2 has one parquet file, and one video per camera, for each episode; version 3 puts many
episodes in each file and notes in meta/episodes where they start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from semanticvla_jax.errors import InputError

COPY_AGAIN = "copy the dataset again, or record it again with lerobot"


@dataclass(frozen=True)
class EpisodeFiles:
    """Of one episode: its parquet file; per camera feature the video and its start in it (s)."""

    index: int
    length: int
    data: Path
    videos: Mapping[str, tuple[Path, float]]


@dataclass(frozen=True)
class Layout:
    """A dataset's declarations.

    Attributes:
      directory: of the dataset.
      fps: frames per second of data and videos alike.
      features: name -> {"dtype", "shape", ...} as in info.json.
      tasks: task index -> instruction.
      episodes: in order.
    """

    directory: Path
    fps: float
    features: Mapping[str, dict]
    tasks: Mapping[int, str]
    episodes: tuple[EpisodeFiles, ...]


def read_layout(directory: Path) -> Layout:
    """Reads `meta/`.

    Raises:
      InputError: unreadable or incomplete declarations, or a format version that is not read.
    """
    path = directory / "meta" / "info.json"
    try:
        info = json.loads(path.read_text())
        version = str(info["codebase_version"])
        read = _READERS.get(version.split(".")[0])
        if read is None:
            raise InputError(
                f"LeRobot dataset {directory}",
                found=f"format {version}",
                expected="v2.0, v2.1 or v3.0",
                fix="convert it with lerobot's own conversion scripts",
            )
        tasks, episodes = read(directory, info, _videos(info["features"]))
        layout = Layout(directory, float(info["fps"]), info["features"], tasks, tuple(episodes))
    except (OSError, ValueError, KeyError, IndexError, TypeError, pa.ArrowException) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"declarations of LeRobot dataset {directory}",
            found=f"{type(error).__name__}: {error}",
            expected="meta/ as lerobot writes it",
            fix=COPY_AGAIN,
        ) from None
    if not episodes:
        raise InputError(
            f"empty LeRobot dataset {directory}",
            found="0 episodes",
            expected="at least one",
            fix=COPY_AGAIN,
        )
    return layout


def _videos(features: Mapping[str, dict]) -> list[str]:
    return [name for name, feature in features.items() if feature["dtype"] == "video"]


def _read_version_2(directory: Path, info: dict, videos: list[str]):
    meta = directory / "meta"
    tasks = {row["task_index"]: row["task"] for row in _json_lines(meta / "tasks.jsonl")}
    episodes = []
    for row in _json_lines(meta / "episodes.jsonl"):
        index = row["episode_index"]
        place = {"episode_index": index, "episode_chunk": index // info["chunks_size"]}
        files = {
            key: (directory / info["video_path"].format(video_key=key, **place), 0.0)
            for key in videos
        }
        data = directory / info["data_path"].format(**place)
        episodes.append(EpisodeFiles(index, row["length"], data, files))
    return tasks, sorted(episodes, key=lambda episode: episode.index)


def _read_version_3(directory: Path, info: dict, videos: list[str]):
    table = pq.read_table(directory / "meta" / "tasks.parquet")
    (words,) = (name for name in table.column_names if name != "task_index")
    tasks = dict(zip(table["task_index"].to_pylist(), table[words].to_pylist(), strict=True))
    columns = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    columns += [
        f"videos/{key}/{name}"
        for key in videos
        for name in ("chunk_index", "file_index", "from_timestamp")
    ]
    episodes = []
    for path in sorted((directory / "meta" / "episodes").glob("*/*.parquet")):
        for row in pq.read_table(path, columns=columns).to_pylist():
            episodes.append(_episode_3(directory, info, videos, row))
    return tasks, sorted(episodes, key=lambda episode: episode.index)


def _episode_3(directory: Path, info: dict, videos: list[str], row: dict) -> EpisodeFiles:
    def place(prefix: str) -> dict:
        return {name: row[f"{prefix}/{name}"] for name in ("chunk_index", "file_index")}

    files = {
        key: (
            directory / info["video_path"].format(video_key=key, **place(f"videos/{key}")),
            row[f"videos/{key}/from_timestamp"],
        )
        for key in videos
    }
    data = directory / info["data_path"].format(**place("data"))
    return EpisodeFiles(row["episode_index"], row["length"], data, files)


_READERS = {"v2": _read_version_2, "v3": _read_version_3}


def _json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
