"""What a policy is told and what it answers, without the model and without JAX.

Raw observations become model inputs, normalised actions the robot's units. A process that only
talks to a policy, such as a simulator worker, needs no more than this.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from semanticvla_jax.data import normalization
from semanticvla_jax.data.options import DataOptions
from semanticvla_jax.data.transforms import ImageTransform
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec, find_robot
from semanticvla_jax.text.tokenizers import TEXT_END, PromptTokenizer

See = Callable[[Sequence[np.ndarray]], dict[str, np.ndarray]]


@dataclass
class Interface:
    """Observations in, actions out. Picklable.

    Attributes:
      label: what results call the policy.
      robot: cameras, state and action conventions.
      camera_size: pixels of the square camera images it was trained on; render at this size.
      chunk: K, actions per inference.
    """

    label: str
    robot: RobotSpec
    camera_size: int
    chunk: int
    transform: ImageTransform = field(repr=False)
    tokenizer: PromptTokenizer = field(repr=False)
    statistics: normalization.DatasetStatistics = field(repr=False)

    def prepare(self, observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """One observation -> the model's inputs without the batch axis.

        Args:
          observation: one uint8[H, W, 3] per camera of the robot (rotated as in the datasets),
            `state` f32[S] raw, and `instruction`, a sentence.

        Raises:
          InputError: something is missing, of a wrong shape or dtype, or not finite.
        """
        return self.read(observation, self._see)

    def read(self, observation: Mapping[str, Any], see: See) -> dict[str, np.ndarray]:
        """As `prepare`; what becomes of the camera images, uint8[H, W, 3] each, is up to `see`."""
        check_observation(observation, self.robot)
        frames = [
            np.asarray(observation[camera.key])
            if camera.square
            else as_recorded(np.asarray(observation[camera.key]), self.camera_size)
            for camera in self.robot.cameras
        ]
        bounds = self.statistics.proprio.bounds(self.robot.normalisation)
        return {
            **see(frames),
            "state": bounds.normalize(np.asarray(observation["state"])).astype(np.float32),
            **self._encode(observation["instruction"]),
        }

    def _see(self, frames: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {"images": np.stack([self.transform.rollout(frame) for frame in frames])}

    def finish(self, actions: np.ndarray) -> np.ndarray:
        """Normalised f32[..., A] -> the controller's units."""
        bounds = self.statistics.action.bounds(self.robot.normalisation)
        return self.robot.gripper.to_environment(bounds.unnormalize(actions)).astype(np.float32)

    def words(self, text_ids: np.ndarray) -> list[str]:
        """The M pieces that the text tower read; '' for padding."""
        read = [self.tokenizer.vision_text.piece_of(int(number)) for number in text_ids]
        return [
            "" if number == TEXT_END else word for number, word in zip(text_ids, read, strict=True)
        ]

    def example(self) -> dict[str, np.ndarray]:
        """Model inputs of black images, to compile with."""
        black = np.zeros((self.camera_size, self.camera_size, 3), np.uint8)
        cameras = dict.fromkeys(self.robot.camera_names, black)
        state = np.zeros(self.robot.state_size, np.float32)
        return self.prepare({**cameras, "state": state, "instruction": ""})

    @functools.cached_property
    def _encode(self):
        return functools.lru_cache(maxsize=256)(self.tokenizer.encode)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_encode"}


def read_interface(meta: Mapping[str, Any], label: str, dataset: str | None = None) -> Interface:
    """The interface that a checkpoint's `meta` describes.

    Args:
      meta: as `Checkpoints.read_meta` returns it.
      label: what results call the policy.
      dataset: whose normalisation to use; needed when it was trained on several.

    Raises:
      InputError: the dataset's statistics are not in it.
    """
    options, robot = DataOptions.of(meta["config"]["data"]), find_robot(meta["robot"])
    return Interface(
        label=label,
        robot=robot,
        camera_size=meta["camera_size"],
        chunk=robot.chunk_length,
        transform=options.image_transform(),
        tokenizer=options.tokenizer(),
        statistics=_choose_statistics(normalization.from_json(meta["statistics"]), dataset),
    )


def as_recorded(frame: np.ndarray, height: int) -> np.ndarray:
    """A frame of a camera that is not square, with the height of the demonstrations' images.

    The released ALOHA pipeline squeezes every frame to a square of that side by PIL's bicubic
    filter, when it writes demonstrations and when it acts. Frames that have the height already
    are as the demonstrations were.
    """
    if frame.shape[0] == height:
        return frame
    return np.asarray(Image.fromarray(frame).resize((height, height), Image.Resampling.BICUBIC))


def check_observation(observation: Mapping[str, Any], robot: RobotSpec) -> None:
    """Raises InputError unless `observation` is complete for the robot, and finite."""
    wanted = (*robot.camera_names, "state", "instruction")
    missing = [name for name in wanted if name not in observation]
    if missing:
        raise InputError(
            "observation",
            found=f"keys {sorted(observation)}",
            expected=f"{', '.join(wanted)} for the robot '{robot.name}'",
            fix=f"add {', '.join(missing)}",
        )
    for camera in robot.cameras:
        name, image = camera.key, np.asarray(observation[camera.key])
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise InputError(
                f"observation['{name}']",
                found=f"{image.dtype}{list(image.shape)}",
                expected="uint8[H, W, 3]",
                fix="send the raw RGB camera image",
            )
        if camera.square and image.shape[0] != image.shape[1]:
            raise InputError(
                f"observation['{name}']",
                found=f"{image.shape[0]} x {image.shape[1]} pixels",
                expected="a square image, as in training",
                fix="crop or render it so",
            )
    state = np.asarray(observation["state"])
    if state.shape != (robot.state_size,) or not np.isfinite(state).all():
        raise InputError(
            "observation['state']",
            found=f"{state.tolist()} of shape {state.shape}",
            expected=f"{robot.state_size} finite numbers: {', '.join(robot.state_names)}",
            fix="send the raw proprioceptive state",
        )


def _choose_statistics(
    statistics: Mapping[str, normalization.DatasetStatistics], dataset: str | None
) -> normalization.DatasetStatistics:
    if dataset is None and len(statistics) == 1:
        return next(iter(statistics.values()))
    if dataset is None:
        raise InputError(
            "dataset whose normalisation to use",
            found="none named",
            expected=f"one of {sorted(statistics)}",
            fix="name the dataset the policy is to act like",
        )
    return normalization.find_statistics(statistics, dataset)[1]
