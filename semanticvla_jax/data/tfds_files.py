"""What lies in a TFDS directory: shards and declared features, checked against a robot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from semanticvla_jax.data.record_files import RECORD_FILES, RecordFile
from semanticvla_jax.errors import InputError, choose
from semanticvla_jax.robots import RobotSpec

SPLIT = "train"
_INFO, _FEATURES = "dataset_info.json", "features.json"
_WRITE_AGAIN = "copy the dataset again, or write it again with the program that made it"


@dataclass(frozen=True)
class TfdsFiles:
    """One version of one dataset.

    Attributes:
      name: e.g. "libero_object_no_noops"; names its statistics too.
      directory: holds dataset_info.json, features.json and the shards.
      files: of the train split, in order.
      file_lengths: episodes in each.
      image_shapes: camera key -> declared (height, width, 3); None where undeclared.
    """

    name: str
    directory: Path
    files: tuple[RecordFile, ...]
    file_lengths: tuple[int, ...]
    image_shapes: Mapping[str, tuple[int | None, ...]]


def find_datasets(path: str | Path) -> list[Path]:
    """Version directories at or below `path`: a version, a dataset, or a directory of datasets.

    Of several versions of one dataset the newest is taken.

    Raises:
      InputError: nothing there.
    """
    path = Path(path).expanduser()
    if (path / _INFO).is_file():
        return [path]
    versions = _newest_version(path)
    if versions:
        return versions
    children = sorted(child for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
    datasets = [version for child in children for version in _newest_version(child)]
    if not datasets:
        raise InputError(
            f"dataset {path}",
            found=_listing(path),
            expected=f"a TFDS dataset: NAME/VERSION/{_INFO} with its files, or a LeRobot "
            "dataset: meta/info.json",
            fix="set config.data.path to the directory of a dataset, or write one with "
            "`python -m data.libero_expert`",
        )
    return datasets


def _newest_version(path: Path) -> list[Path]:
    versions = [
        info.parent for info in path.glob(f"*/{_INFO}") if _version(info.parent.name) is not None
    ]
    return sorted(versions, key=lambda directory: _version(directory.name))[-1:]


def _version(name: str) -> tuple[int, ...] | None:
    parts = name.split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else None


def _listing(path: Path) -> str:
    if not path.is_dir():
        nearest = next(parent for parent in (path, *path.parents) if parent.is_dir())
        return f"no such directory (the nearest that exists is {nearest.resolve()})"
    names = sorted(child.name for child in path.iterdir())
    return (
        f"only {', '.join(names[:5])}" + (", ..." if len(names) > 5 else "")
        if names
        else ("an empty directory")
    )


def read_tfds_files(version: Path, robot: RobotSpec) -> TfdsFiles:
    """Reads the declarations of one version directory and checks them.

    Raises:
      InputError: unreadable or missing declarations, no episodes, a missing shard, or features
        that the robot does not have.
    """
    info, features = _read_json(version / _INFO), _read_json(version / _FEATURES)
    name = info.get("name", version.parent.name)
    splits = {split.get("name"): split for split in info.get("splits", [])}
    if SPLIT not in splits:
        raise InputError(
            f"dataset {version}",
            found=f"the splits {sorted(splits) or 'none'}",
            expected=f"a split named {SPLIT!r}",
            fix=_WRITE_AGAIN,
        )
    lengths = tuple(int(length) for length in splits[SPLIT].get("shardLengths", []))
    if sum(lengths) == 0:
        raise InputError(
            f"empty dataset {version}",
            found="0 episodes",
            expected="at least one episode",
            fix=_WRITE_AGAIN,
        )
    files = _record_files(version, name, info, splits[SPLIT], len(lengths))
    return TfdsFiles(name, version, files, lengths, _check_features(features, robot, version))


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"dataset declaration {path}",
            found=f"{type(error).__name__}: {error}",
            expected="a JSON file written by TFDS",
            fix=_WRITE_AGAIN,
        ) from None


def _record_files(
    version: Path, name: str, info: dict, split: dict, count: int
) -> tuple[RecordFile, ...]:
    file_format = info.get("fileFormat") or "tfrecord"
    fix = "write the dataset in one of these formats (TFDS' default is tfrecord)"
    open_file = choose(RECORD_FILES, file_format, f"file format of dataset {version}", fix)
    template = split.get("filepathTemplate") or "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    files = []
    for shard in range(count):
        numbers = {"SHARD_INDEX": f"{shard:05d}", "NUM_SHARDS": f"{count:05d}"}
        numbers["SHARD_X_OF_Y"] = "{SHARD_INDEX}-of-{NUM_SHARDS}".format(**numbers)
        path = version / template.format(
            DATASET=name, SPLIT=SPLIT, FILEFORMAT=file_format, **numbers
        )
        if not path.is_file():
            raise InputError(
                f"missing file of dataset {version}",
                found=f"{len(list(version.glob(f'*.{file_format}-*')))} {file_format} files",
                expected=f"{count}, among them {path.name}",
                fix=_WRITE_AGAIN,
            )
        files.append(open_file(path))
    return tuple(files)


def _check_features(
    declared: dict, robot: RobotSpec, version: Path
) -> dict[str, tuple[int | None, ...]]:
    steps = _members(_members(declared).get("steps", {}).get("sequence", {}).get("feature", {}))
    observation = _members(steps.get("observation", {}))
    _check_vector(steps, "action", robot.action_size, "steps/action", robot, version)
    _check_vector(
        observation, robot.state_key, robot.state_size, "steps/observation", robot, version
    )
    return {
        camera.key: _check_camera(observation, camera, robot, version) for camera in robot.cameras
    }


def _members(feature: dict) -> dict:
    return feature.get("featuresDict", {}).get("features", {})


def _shape(feature: dict, kind: str) -> tuple[int | None, ...]:
    sizes = feature.get(kind, {}).get("shape", {}).get("dimensions", [])
    return tuple(int(size) if int(size) > 0 else None for size in sizes)


def _check_vector(members: dict, key: str, size: int, where: str, robot: RobotSpec, version: Path):
    shape = _shape(members.get(key, {}), "tensor")
    if shape != (size,):
        raise InputError(
            f"{where}/{key} of dataset {version}".replace("action/action", "action"),
            found=f"shape {shape}" if key in members else f"only {sorted(members)}",
            expected=f"shape ({size},) for robot {robot.name!r}",
            fix="choose the robot the dataset was recorded with (config.robot), or describe it in "
            "semanticvla_jax/robots.py",
        )


def _check_camera(members: dict, camera, robot: RobotSpec, version: Path):
    where = f"image shape of steps/observation/{camera.key} in dataset {version}"
    if camera.key not in members or "image" not in members[camera.key]:
        found, shape = f"no such image; there are {sorted(members)}", ()
    else:
        shape = _shape(members[camera.key], "image")
        found = f"{shape}"
    square = len(shape) == 3 and (not camera.square or shape[0] == shape[1])
    if len(shape) != 3 or shape[2] != 3 or not square:
        expected = "(size, size, 3)" if camera.square else "(height, width, 3)"
        raise InputError(
            where,
            found=found,
            expected=f"uint8 {expected} for robot {robot.name!r}",
            fix="record the images the robot expects, or describe your robot's cameras in "
            "semanticvla_jax/robots.py",
        )
    return shape
