"""Demonstrations of any robot, written as a TFDS/RLDS dataset that is either absent or whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg

from data.libero_expert.files import (
    UNFINISHED,
    make_writable_directory,
    rename_durably,
    single_writer,
)
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec

VERSION = "1.0.0"
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}


@dataclass(frozen=True, eq=False)
class Demonstration:
    """T steps; what the robot saw and was when it decided on each action.

    Attributes:
      images: camera key -> T JPEG files.
      states: f32[T, S].
      actions: f32[T, A].
      instruction: the task in words.
      source: where it comes from; unique in the dataset, becomes `episode_metadata/file_path`.
    """

    images: Mapping[str, list[bytes]]
    states: np.ndarray
    actions: np.ndarray
    instruction: str
    source: str

    def __len__(self) -> int:
        return len(self.actions)


def write_dataset(
    demonstrations: Iterable[Demonstration], name: str, robot: RobotSpec, out: Path
) -> Path:
    """Writes `out/name/1.0.0` with split `train`, and returns it.

    An interrupted run leaves no dataset; running again starts over.

    Args:
      demonstrations: read one at a time; each is checked against the robot.
      name: of the dataset: lower case and underscores.
      robot: whose cameras, state and action are written.
      out: gets the dataset.

    Raises:
      InputError: the dataset exists, `out` cannot be written, there are no demonstrations, or one
        does not fit the robot or the first one's image sizes.
    """
    make_writable_directory(out)
    with single_writer(out):
        dataset = out / name
        if dataset.exists():
            raise InputError(
                f"dataset {dataset}",
                found="one that is there already",
                expected="a new name",
                fix="name another --out or --name, or remove it",
            )
        for leftover in out.glob(f"{UNFINISHED}*-dataset"):
            shutil.rmtree(leftover)
        unfinished = out / f"{UNFINISHED}{os.getpid()}-dataset"
        unfinished.mkdir()
        try:
            _write(_checked(demonstrations, robot), name, robot, unfinished)
            rename_durably(unfinished / name, dataset)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return dataset / VERSION


def _checked(demonstrations: Iterable[Demonstration], robot: RobotSpec) -> Iterator[Demonstration]:
    sizes: dict[str, tuple[int, int]] = {}
    for demonstration in demonstrations:
        _check_lengths(demonstration, robot)
        for key, size in _image_sizes(demonstration).items():
            if sizes.setdefault(key, size) != size:
                raise InputError(
                    f"images {key} of {demonstration.source}",
                    found=f"{size[0]} x {size[1]} pixels",
                    expected=f"{sizes[key][0]} x {sizes[key][1]}, as in the first demonstration",
                    fix="resize the images to one size",
                )
        yield demonstration


def _check_lengths(demonstration: Demonstration, robot: RobotSpec) -> None:
    steps = len(demonstration)
    found = {"states": demonstration.states.shape, "actions": demonstration.actions.shape}
    found |= {key: len(files) for key, files in demonstration.images.items()}
    expected = {"states": (steps, robot.state_size), "actions": (steps, robot.action_size)}
    expected |= dict.fromkeys(robot.camera_names, steps)
    if found != expected or not steps:
        raise InputError(
            f"demonstration {demonstration.source}",
            found=found,
            expected=f"{expected}, at least one step",
            fix=f"give every step what robot {robot.name!r} has",
        )


def _image_sizes(demonstration: Demonstration) -> dict[str, tuple[int, int]]:
    return {
        key: simplejpeg.decode_jpeg_header(files[0])[:2]
        for key, files in demonstration.images.items()
    }


def _write(demonstrations: Iterator[Demonstration], name: str, robot: RobotSpec, directory: Path):
    first = next(demonstrations, None)
    if first is None:
        raise InputError(
            f"dataset {name}",
            found="no demonstrations",
            expected="at least one",
            fix="check the path of the demonstrations",
        )
    os.environ.update(QUIET)
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    builder_class = _builder_class(name, robot, first, demonstrations)
    try:
        builder_class(data_dir=str(directory)).download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    except Exception as error:
        raise _input_error_behind(error) or error from None


def _input_error_behind(error: BaseException | None) -> InputError | None:
    """What a demonstration raised; tfds wraps it in an exception of its own."""
    while error and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _builder_class(name_: str, robot: RobotSpec, first: Demonstration, others):
    import tensorflow_datasets as tfds

    class Dataset(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = name_
        VERSION = tfds.core.Version("1.0.0")
        RELEASE_NOTES = {"1.0.0": "Converted."}
        pkg_dir_path = code_path = None  # no checksums or metadata files beside this module

        def _info(self) -> tfds.core.DatasetInfo:
            description = f"Demonstrations of robot {robot.name}. {robot.action_frame}."
            return tfds.core.DatasetInfo(
                builder=self,
                features=features(robot, _image_sizes(first)),
                description=description,
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield first.source, example(first, robot)
            for demonstration in others:
                yield demonstration.source, example(demonstration, robot)

    return Dataset


def features(robot: RobotSpec, sizes: Mapping[str, tuple[int, int]]):
    """The feature spec: RLDS steps with the robot's cameras, state and action."""
    from tensorflow_datasets import features as tfds_features

    def vector(dimensions) -> tfds_features.Tensor:
        doc = ", ".join(f"{dimension.name} [{dimension.unit}]" for dimension in dimensions)
        return tfds_features.Tensor(shape=(len(dimensions),), dtype=np.float32, doc=doc)

    observation = {
        camera.key: tfds_features.Image(
            shape=(*sizes[camera.key], 3),
            dtype=np.uint8,
            encoding_format="jpeg",
            doc=camera.description,
        )
        for camera in robot.cameras
    }
    observation[robot.state_key] = vector(robot.state)
    step = {
        "observation": tfds_features.FeaturesDict(observation),
        "action": vector(robot.action),
        "discount": tfds_features.Scalar(dtype=np.float32),
        "reward": tfds_features.Scalar(dtype=np.float32),
        "is_first": tfds_features.Scalar(dtype=np.bool_),
        "is_last": tfds_features.Scalar(dtype=np.bool_),
        "is_terminal": tfds_features.Scalar(dtype=np.bool_),
        "language_instruction": tfds_features.Text(),
    }
    metadata = tfds_features.FeaturesDict({"file_path": tfds_features.Text()})
    return tfds_features.FeaturesDict(
        {"steps": tfds_features.Dataset(step), "episode_metadata": metadata}
    )


def example(demonstration: Demonstration, robot: RobotSpec) -> dict:
    """The demonstration as nested values of `features`; images stay the JPEG bytes they are."""
    last = len(demonstration) - 1
    steps = [
        {
            "observation": {key: files[step] for key, files in demonstration.images.items()}
            | {robot.state_key: np.asarray(demonstration.states[step], np.float32)},
            "action": np.asarray(demonstration.actions[step], np.float32),
            "discount": 1.0,
            "reward": float(step == last),
            "is_first": step == 0,
            "is_last": step == last,
            "is_terminal": step == last,
            "language_instruction": demonstration.instruction,
        }
        for step in range(len(demonstration))
    ]
    return {"steps": steps, "episode_metadata": {"file_path": demonstration.source}}
