"""RLDS episodes in unchanged TFDS files, with random access to every frame.

One pass over the files reads states, actions and instructions and notes where each JPEG lies;
afterwards any frame of any episode is one slice of a memory map. No TensorFlow, no conversion, no
shuffle buffer.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import simplejpeg

from semanticvla_jax.data import tfrecord
from semanticvla_jax.data.episodes import Tell, finite, refuse
from semanticvla_jax.data.tfds_files import TfdsFiles, find_datasets, read_tfds_files
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec


@dataclass(frozen=True)
class RldsDataset:
    """The frames of one dataset, N in E episodes, for a robot with I cameras. Picklable.

    Attributes:
      name: of the dataset; names its statistics too.
      shards: TFRECORD files.
      frame_shard: i32[N], the file of each frame.
      image_start, image_stop: i64[N, I], where its JPEGs lie in that file.
      states: f32[N, S] as stored.
      actions: f32[N, A] as stored.
      episode_start: i64[E + 1], first frame of each episode; the last entry is N.
      instructions: E instructions.
    """

    name: str
    shards: tuple[Path, ...]
    frame_shard: np.ndarray = field(repr=False)
    image_start: np.ndarray = field(repr=False)
    image_stop: np.ndarray = field(repr=False)
    states: np.ndarray = field(repr=False)
    actions: np.ndarray = field(repr=False)
    episode_start: np.ndarray = field(repr=False)
    instructions: tuple[str, ...] = field(repr=False)

    @property
    def episode_count(self) -> int:
        return len(self.instructions)

    @property
    def frame_count(self) -> int:
        return len(self.actions)

    @cached_property
    def _maps(self) -> tuple[mmap.mmap, ...]:
        return tuple(tfrecord.map_file(path) for path in self.shards)

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_maps"}

    @property
    def camera_size(self) -> int:
        """Height in pixels of the first camera's stored images."""
        height, _, _, _ = simplejpeg.decode_jpeg_header(self.jpegs(0)[0])
        return height

    def jpegs(self, frame: int) -> list[bytes]:
        """The I encoded images of a frame, in the robot's camera order."""
        buffer = self._maps[self.frame_shard[frame]]
        spans = zip(self.image_start[frame], self.image_stop[frame], strict=True)
        return [buffer[start:stop] for start, stop in spans]


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
        for shard in range(len(files.shards))
        for episode in _read_shard(shard, files, robot, tell)
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
        shards=files.shards,
        frame_shard=np.repeat([episode.shard for episode in episodes], lengths).astype(np.int32),
        image_start=np.concatenate([episode.images[..., 0] for episode in episodes]),
        image_stop=np.concatenate([episode.images[..., 1] for episode in episodes]),
        states=np.concatenate([episode.states for episode in episodes]),
        actions=np.concatenate([episode.actions for episode in episodes]),
        episode_start=np.concatenate([[0], np.cumsum(lengths)]),
        instructions=tuple(episode.instruction for episode in episodes),
    )


@dataclass(frozen=True)
class _Episode:
    shard: int
    images: np.ndarray  # i64[T, I, 2]
    states: np.ndarray  # f32[T, S]
    actions: np.ndarray  # f32[T, A]
    instruction: str


def _read_shard(shard: int, files: TfdsFiles, robot: RobotSpec, tell: Tell) -> list[_Episode]:
    path, spans, episodes = files.shards[shard], [], []
    try:
        buffer = tfrecord.map_file(path)
        for span in tfrecord.record_spans(buffer, path):
            spans.append(span)
        if len(spans) != files.shard_lengths[shard]:
            raise InputError(
                f"truncated TFRECORD {path}",
                found=f"{len(spans)} episodes",
                expected=f"{files.shard_lengths[shard]}, as dataset_info.json says",
                fix="copy or write the dataset again",
            )
    except InputError as problem:
        tell(problem)
    for number, span in enumerate(spans):
        try:
            where = f"episode {number} of {path}"
            episodes.append(_read_episode(buffer, span, where, shard, files, robot))
        except InputError as problem:
            tell(problem)
    return episodes


def _read_episode(
    buffer, span: tfrecord.Span, where: str, shard: int, files: TfdsFiles, robot: RobotSpec
) -> _Episode:
    try:
        features = tfrecord.example_features(buffer, span)
        cameras = [
            tfrecord.byte_strings(buffer, features[f"steps/observation/{key}"])
            for key in robot.camera_names
        ]
        actions = tfrecord.floats(buffer, features["steps/action"])
        states = tfrecord.floats(buffer, features[f"steps/observation/{robot.state_key}"])
        (text,) = tfrecord.byte_strings(buffer, features["steps/language_instruction"], limit=1)
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
    return _Episode(
        shard,
        np.array(cameras, np.int64).transpose(1, 0, 2),
        finite(states.reshape(steps, -1), robot.state_names, "state", where),
        finite(actions.reshape(steps, -1), robot.action_names, "action", where),
        buffer[text[0] : text[1]].decode(),
    )


def _check_jpeg(buffer, span: tfrecord.Span, declared: tuple[int | None, ...], what: str) -> None:
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
