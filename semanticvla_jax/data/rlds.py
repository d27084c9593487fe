"""RLDS episodes in unchanged TFDS files, with random access to every frame.

One pass over the files reads states, actions and instructions and notes where each JPEG lies;
afterwards any frame of any episode is read by itself. No TensorFlow, no conversion, no shuffle
buffer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from semanticvla_jax.data import examples
from semanticvla_jax.data.episodes import EpisodeSource, Tell, finite, refuse
from semanticvla_jax.data.examples import Span
from semanticvla_jax.data.record_files import RecordFile
from semanticvla_jax.data.tfds_files import TfdsFiles, find_datasets, read_tfds_files
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec


@dataclass(frozen=True)
class RldsDataset(EpisodeSource):
    """The frames of one dataset, N in E episodes, for a robot with I cameras. Picklable.

    Attributes:
      name: of the dataset; names its statistics too.
      files: of records, one per episode.
      frame_file: i32[N], the file of each frame.
      frame_record: i32[N], its record in that file.
      image_start, image_stop: i64[N, I], where its JPEGs lie (`RecordFile.read`).
      states: f32[N, S] as stored.
      actions: f32[N, A] as stored.
      episode_start: i64[E + 1], first frame of each episode; the last entry is N.
      instructions: E instructions.
    """

    name: str
    files: tuple[RecordFile, ...]
    frame_file: np.ndarray = field(repr=False)
    frame_record: np.ndarray = field(repr=False)
    image_start: np.ndarray = field(repr=False)
    image_stop: np.ndarray = field(repr=False)
    states: np.ndarray = field(repr=False)
    actions: np.ndarray = field(repr=False)
    episode_start: np.ndarray = field(repr=False)
    instructions: tuple[str, ...] = field(repr=False)

    def jpegs(self, frame: int) -> list[bytes]:
        """The I encoded images of a frame, in the robot's camera order."""
        spans = list(zip(self.image_start[frame], self.image_stop[frame], strict=True))
        return self.files[self.frame_file[frame]].read(int(self.frame_record[frame]), spans)

    def file(self, frame: int) -> Path:
        return self.files[self.frame_file[frame]].path


def open_datasets(path: str | Path, robot: RobotSpec, tell: Tell = refuse) -> list[RldsDataset]:
    """Every dataset at or below `path` (see `find_datasets`), in order of name.

    Raises:
      InputError: see `open_dataset`.
    """
    return [open_dataset(version, robot, tell) for version in find_datasets(path)]


def open_dataset(version: str | Path, robot: RobotSpec, tell: Tell = refuse) -> RldsDataset:
    """Indexes one version directory of a dataset.

    Args:
      version: the directory.
      robot: whose features to read.
      tell: takes each damaged file or episode; what it does not raise is left out.

    Raises:
      InputError: nothing there, damaged or incomplete files, another robot's features, images of
        another size than declared, or numbers that are not finite. Names file and place.
    """
    files = read_tfds_files(Path(version), robot)
    episodes = [
        episode
        for number in range(len(files.files))
        for episode in _read_file(number, files, robot, tell)
    ]
    if not episodes:
        raise InputError(
            f"dataset {version}",
            found="no readable episode",
            expected="at least one",
            fix="copy or write the dataset again",
        )
    lengths = [len(episode.actions) for episode in episodes]
    return RldsDataset(
        name=files.name,
        files=files.files,
        frame_file=np.repeat([episode.file for episode in episodes], lengths).astype(np.int32),
        frame_record=np.repeat([episode.record for episode in episodes], lengths).astype(np.int32),
        image_start=np.concatenate([episode.images[..., 0] for episode in episodes]),
        image_stop=np.concatenate([episode.images[..., 1] for episode in episodes]),
        states=np.concatenate([episode.states for episode in episodes]),
        actions=np.concatenate([episode.actions for episode in episodes]),
        episode_start=np.concatenate([[0], np.cumsum(lengths)]),
        instructions=tuple(episode.instruction for episode in episodes),
    )


@dataclass(frozen=True)
class _Episode:
    file: int
    record: int
    images: np.ndarray  # i64[T, I, 2]
    states: np.ndarray  # f32[T, S]
    actions: np.ndarray  # f32[T, A]
    instruction: str


def _read_file(number: int, files: TfdsFiles, robot: RobotSpec, tell: Tell) -> list[_Episode]:
    file, episodes = files.files[number], []
    for record, buffer, span in _records(file, files.file_lengths[number], tell):
        try:
            where = f"episode {record} of {file.path}"
            parts = _read_episode(buffer, span, where, files, robot)
            episodes.append(_Episode(number, record, *parts))
        except InputError as problem:
            tell(problem)
    return episodes


def _records(file: RecordFile, expected: int, tell: Tell) -> Iterator[tuple[int, Any, Span]]:
    """(number, buffer, span) of each record; tells of it if there are not as many as expected."""
    count = 0
    try:
        for count, (buffer, span) in enumerate(file.records(), start=1):
            yield count - 1, buffer, span
        if count != expected:
            raise InputError(
                f"truncated file {file.path}",
                found=f"{count} episodes",
                expected=f"{expected}, as dataset_info.json says",
                fix="copy or write the dataset again",
            )
    except InputError as problem:
        tell(problem)


def _read_episode(buffer, span: Span, where: str, files: TfdsFiles, robot: RobotSpec) -> tuple:
    """images, states, actions, instruction: the fields of `_Episode`."""
    try:
        features = examples.example_features(buffer, span)
        cameras = [
            examples.byte_strings(buffer, features[f"steps/observation/{key}"])
            for key in robot.camera_names
        ]
        actions = examples.floats(buffer, features["steps/action"])
        states = examples.floats(buffer, features[f"steps/observation/{robot.state_key}"])
        (text,) = examples.byte_strings(buffer, features["steps/language_instruction"], limit=1)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"damaged {where}",
            found=f"{type(error).__name__}: {error}",
            expected="an episode with the features that features.json declares",
            fix="copy or write the dataset again",
        ) from None
    steps = len(cameras[0])
    sizes = {"action": actions.size / robot.action_size, "state": states.size / robot.state_size}
    sizes |= dict(zip(robot.camera_names, map(len, cameras), strict=True))
    if steps == 0 or any(size != steps for size in sizes.values()):
        raise InputError(
            f"damaged {where}",
            found=f"lengths {sizes}",
            expected="as many images as actions and states, at least one",
            fix="write the dataset again",
        )
    for key, spans in zip(robot.camera_names, cameras, strict=True):
        for step in (0, steps - 1):
            _check_jpeg(buffer, spans[step], files.image_shapes[key], f"{key} {step} of {where}")
    return (
        np.array(cameras, np.int64).transpose(1, 0, 2),
        finite(states.reshape(steps, -1), robot.state_names, "state", where),
        finite(actions.reshape(steps, -1), robot.action_names, "action", where),
        buffer[text[0] : text[1]].decode(),
    )


def _check_jpeg(buffer, span: Span, declared: tuple[int | None, ...], what: str) -> None:
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(buffer[span[0] : span[1]])
    except ValueError as error:
        raise InputError(
            f"image {what}",
            found=str(error),
            expected="a JPEG image",
            fix="write the dataset with encoding_format='jpeg'",
        ) from None
    if any(want not in (None, size) for want, size in zip(declared, (height, width), strict=False)):
        raise InputError(
            f"image shape of {what}",
            found=f"({height}, {width}, 3)",
            expected=f"{tuple(declared)}, as features.json says",
            fix="write the dataset again with images of one size",
        )
