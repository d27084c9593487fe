"""LeRobot datasets (formats 2.x and 3.0) as an `EpisodeSource`, read where they lie.

States and actions are read when the dataset is opened, images when they are asked for: seek to the
key frame before, decode up to the frame. LeRobot writes a key frame every second frame, so that
this is quick; videos with few key frames are better converted once (`python -m data.lerobot`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from semanticvla_jax.data.episodes import EpisodeSource, Tell, finite, refuse
from semanticvla_jax.data.lerobot_features import Features, find_features
from semanticvla_jax.data.lerobot_frames import ParquetImages, VideoFrames
from semanticvla_jax.data.lerobot_layout import COPY_AGAIN, EpisodeFiles, Layout, read_layout
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec

OPEN_FILES = 32  # per thread


class Frames(Protocol):
    """An open file of images."""

    def jpeg(self, position: float) -> bytes:
        """The image at a time (s) or row."""


@dataclass(frozen=True)
class LeRobotDataset(EpisodeSource):
    """The frames of one dataset, N in E episodes, for a robot with I cameras. Picklable.

    Attributes:
      name: of its directory; names its statistics too.
      states, actions, episode_start, instructions: as `EpisodeSource` says.
      files: that hold images.
      frame_file: i32[N, I], the file of each image.
      frame_position: f64[N, I], its time in a video (s) or row in a parquet file.
      open_frames: per camera, what opens its files.
    """

    name: str
    states: np.ndarray = field(repr=False)
    actions: np.ndarray = field(repr=False)
    episode_start: np.ndarray = field(repr=False)
    instructions: tuple[str, ...] = field(repr=False)
    files: tuple[Path, ...] = field(repr=False)
    frame_file: np.ndarray = field(repr=False)
    frame_position: np.ndarray = field(repr=False)
    open_frames: tuple[Callable[[Path], Frames], ...] = field(repr=False)

    def jpegs(self, frame: int) -> list[bytes]:
        """The I images of a frame in the robot's camera order, encoded as JPEG of quality 95.

        Raises:
          InputError: one of them cannot be read; names the file.
        """
        places = zip(self.frame_file[frame], self.frame_position[frame], strict=True)
        return [
            self._opened(camera, int(file)).jpeg(float(position))
            for camera, (file, position) in enumerate(places)
        ]

    def file(self, frame: int) -> Path:
        return self.files[self.frame_file[frame, 0]]

    def _opened(self, camera: int, file: int) -> Frames:
        """Open files belong to a thread; the least used are closed."""
        if not hasattr(self._threads, "opened"):
            self._threads.opened = lru_cache(OPEN_FILES)(
                lambda camera, file: self.open_frames[camera](self.files[file])
            )
        return self._threads.opened(camera, file)

    @cached_property
    def _threads(self) -> threading.local:
        return threading.local()

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_threads"}


def open_dataset(directory: str | Path, robot: RobotSpec, tell: Tell = refuse) -> LeRobotDataset:
    """Reads the numbers of a dataset and notes where its images are.

    Args:
      directory: holds meta/info.json.
      robot: whose features to read (see `lerobot_features`).
      tell: takes each damaged file or episode; what it does not raise is left out.

    Raises:
      InputError: damaged, incomplete or missing files, features the robot does not have, numbers
        that are not finite. Names file and place.
    """
    layout = read_layout(Path(directory))
    features = find_features(layout.features, robot, str(directory))
    read_numbers = lru_cache(maxsize=1)(partial(_read_numbers, features=features))
    frames_in = lru_cache(maxsize=None)(partial(_frames_in, fps=layout.fps))
    episodes = []
    for files in layout.episodes:
        try:
            episode = _read_episode(files, read_numbers(files.data), layout.tasks, features, robot)
            for video, times in episode.places:
                if video != files.data:
                    _check_length(video, frames_in(video), round(times[-1] * layout.fps) + 1)
            episodes.append(episode)
        except InputError as problem:
            tell(problem)
    if not episodes:
        raise InputError(
            f"LeRobot dataset {directory}",
            found="no readable episode",
            expected="at least one",
            fix=COPY_AGAIN,
        )
    open_frames = tuple(_opener(key, layout) for key in features.cameras)
    return _assemble(Path(directory).resolve().name, episodes, open_frames)


def _opener(key: str, layout: Layout) -> Callable[[Path], Frames]:
    if layout.features[key]["dtype"] == "video":
        return partial(VideoFrames, fps=layout.fps)
    return partial(ParquetImages, column=key)


def _frames_in(video: Path, fps: float) -> int:
    """Opens the video, which fails where it is missing or cut off."""
    return VideoFrames(video, fps).frame_count


def _check_length(video: Path, declared: int, needed: int) -> None:
    if 0 < declared < needed:
        raise InputError(
            f"video {video}",
            found=f"{declared} frames",
            expected=f"at least {needed}, one per step",
            fix=COPY_AGAIN,
        )


@dataclass(frozen=True)
class _Numbers:
    """Columns of one parquet file: rows R."""

    episode: np.ndarray  # i64[R]
    task: np.ndarray  # i64[R]
    time: np.ndarray  # f64[R]
    states: np.ndarray  # f32[R, S]
    actions: np.ndarray  # f32[R, A]


@dataclass(frozen=True)
class _Episode:
    states: np.ndarray
    actions: np.ndarray
    instruction: str
    places: list[tuple[Path, np.ndarray]]  # per camera: file, f64[T] positions


def _read_numbers(path: Path, features: Features) -> _Numbers:
    columns = ["episode_index", "task_index", "timestamp", features.state, features.action]
    try:
        table = pq.read_table(path, columns=columns)
        episode, task, time = (np.asarray(table[name]) for name in columns[:3])
        return _Numbers(
            episode,
            task,
            time.astype(np.float64),
            _vectors(table[features.state]),
            _vectors(table[features.action]),
        )
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise InputError(
            f"LeRobot data file {path}",
            found=f"{type(error).__name__}: {error}",
            expected=f"a parquet file with the columns {', '.join(columns)}",
            fix=COPY_AGAIN,
        ) from None


def _vectors(column: pa.ChunkedArray) -> np.ndarray:
    flat = np.asarray(pc.list_flatten(column), np.float32)
    return flat.reshape(len(column), -1)


def _read_episode(
    files: EpisodeFiles,
    numbers: _Numbers,
    tasks: Mapping[int, str],
    features: Features,
    robot: RobotSpec,
) -> _Episode:
    where = f"episode {files.index} in {files.data}"
    (rows,) = np.nonzero(numbers.episode == files.index)
    if len(rows) != files.length or not len(rows):
        raise InputError(
            f"damaged {where}",
            found=f"{len(rows)} steps",
            expected=f"{files.length}, as meta/ says, and at least one",
            fix=COPY_AGAIN,
        )
    task = int(numbers.task[rows[0]])
    if task not in tasks:
        raise InputError(
            f"task of {where}", found=task, expected=f"one of {sorted(tasks)}", fix=COPY_AGAIN
        )
    return _Episode(
        finite(numbers.states[rows], robot.state_names, "state", where),
        finite(numbers.actions[rows], robot.action_names, "action", where),
        tasks[task],
        [_place(files, key, rows, numbers.time[rows]) for key in features.cameras],
    )


def _place(files: EpisodeFiles, key: str, rows: np.ndarray, times: np.ndarray):
    """(file, positions in it) of one camera's images."""
    if key not in files.videos:
        return files.data, rows.astype(np.float64)
    video, start = files.videos[key]
    return video, start + times


def _assemble(
    name: str, episodes: list[_Episode], open_frames: tuple[Callable[[Path], Frames], ...]
) -> LeRobotDataset:
    files: dict[Path, int] = {}
    frame_file = [
        np.tile(
            [files.setdefault(path, len(files)) for path, _ in episode.places],
            (len(episode.actions), 1),
        )
        for episode in episodes
    ]
    lengths = [len(episode.actions) for episode in episodes]
    return LeRobotDataset(
        name=name,
        states=np.concatenate([episode.states for episode in episodes]),
        actions=np.concatenate([episode.actions for episode in episodes]),
        episode_start=np.concatenate([[0], np.cumsum(lengths)]),
        instructions=tuple(episode.instruction for episode in episodes),
        files=tuple(files),
        frame_file=np.concatenate(frame_file).astype(np.int32),
        frame_position=np.concatenate(
            [np.stack([at for _, at in episode.places], 1) for episode in episodes]
        ),
        open_frames=open_frames,
    )
