"""The whole job: collect, write, describe. Continues wherever an earlier run of it stopped."""

from __future__ import annotations

import functools
import json
import os
import shutil
from pathlib import Path

import numpy as np

from data.libero_expert import card
from data.libero_expert.collect import Collection
from data.libero_expert.configuration import Configuration, differences
from data.libero_expert.contact_sheet import contact_sheet, spread
from data.libero_expert.episode import Episode
from data.libero_expert.files import (
    UNFINISHED,
    make_writable_directory,
    rename_durably,
    single_writer,
    write_atomically,
)
from data.libero_expert.schedule import Schedule
from data.libero_expert.staging import Staging
from data.libero_expert.workers import MakeRecorder
from data.libero_expert.write_rlds import Order, write_in_own_process
from semanticvla_jax.data.normalization import DatasetStatistics, to_json
from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.assets.resolve import Assets, resolve_assets
from semanticvla_jax.robots import LIBERO

METADATA, STAGING = "metadata.json", "staging"
VERSION = "1.0.0"


def generate(configuration: Configuration, out: Path, workers: int) -> None:
    """Leaves in `out`: the dataset, its statistics, card, contact sheet and metadata.json.

    Raises: InputError for an `out` that holds anything but this dataset, finished or unfinished,
      or cannot be written.
    """
    make_writable_directory(out)
    with single_writer(out):
        metadata = _read_metadata(out, configuration)
        if metadata.get("complete"):
            shutil.rmtree(out / STAGING, ignore_errors=True)
            print(f"{out} is complete: {metadata['episodes']} episodes; nothing to do")
            return
        assets = _same_assets(metadata, resolve_assets(), out)
        metadata = {
            "complete": False,
            "configuration": configuration.to_json(),
            "assets": card.describe_assets(assets),
        }
        _write_json(out / METADATA, metadata)
        make_recorder = functools.partial(_simulator_recorder, assets=assets)
        fill(configuration, out, workers, make_recorder, metadata)


def fill(
    configuration: Configuration,
    out: Path,
    workers: int,
    make_recorder: MakeRecorder,
    metadata: dict,
) -> None:
    """Everything after the checks of `generate`; `make_recorder` plays the attempts."""
    staging = Staging(out / STAGING, configuration)
    schedule = Collection(configuration, staging, make_recorder, workers).run()
    paths = _episode_paths(configuration, schedule, staging)
    dataset = out / configuration.dataset_name
    if not dataset.exists():
        print(f"writing {len(paths)} episodes to {dataset / VERSION}", flush=True)
        _write_dataset(configuration, paths, dataset)

    episodes = [Episode.from_bytes(path.read_bytes()) for path in paths]
    shown = [episodes[index] for index in spread(range(len(episodes)))]
    write_atomically(out / "contact_sheet.png", contact_sheet(shown))
    statistics = DatasetStatistics.of(
        LIBERO,
        np.concatenate([episode.state for episode in episodes]),
        np.concatenate([episode.action for episode in episodes]),
        len(episodes),
    )
    _write_json(out / "dataset_statistics.json", to_json({configuration.dataset_name: statistics}))
    metadata = {
        **metadata,
        "dataset": configuration.dataset_name,
        "version": VERSION,
        "episodes": len(episodes),
        "steps": sum(map(len, episodes)),
        "tasks": card.task_results(configuration, schedule, staging, episodes),
        "versions": card.versions(),
    }
    write_atomically(out / "README.md", card.readme(metadata).encode())
    _write_json(out / METADATA, {**metadata, "complete": True})
    shutil.rmtree(staging.directory)
    print(
        f"{out}: {metadata['episodes']} episodes, {metadata['steps']} steps; the expert succeeded "
        f"in {schedule.total_successes()} of {schedule.total_attempts()} attempts"
    )


def _simulator_recorder(configuration: Configuration, assets: Assets):
    """Runs in worker processes; only they import the simulator."""
    from data.libero_expert.record import SimulatorRecorder

    return SimulatorRecorder(configuration, assets)


def _read_metadata(out: Path, configuration: Configuration) -> dict:
    """The metadata in `out`, {} for a new directory; refuses what this run did not begin."""
    path = out / METADATA
    if not path.exists():
        others = [child.name for child in out.iterdir() if child.name != ".lock"]
        if others:
            raise InputError(
                f"output directory {out}",
                found=f"other files, such as {sorted(others)[0]}",
                expected="a new or empty directory, or a dataset begun by this command",
                fix="name another --out",
            )
        return {}
    metadata = json.loads(path.read_text())
    found, wanted = metadata["configuration"], configuration.to_json()
    different = differences(found, wanted)
    if different:
        raise InputError(
            f"dataset in {out} was begun with other arguments",
            found=_excerpt(found, different),
            expected=_excerpt(wanted, different),
            fix="name another --out, or repeat the arguments it was begun with",
        )
    return metadata


def _excerpt(settings: dict, names: list[str]) -> str:
    flat = {**settings, **{f"noise.{key}": value for key, value in settings["noise"].items()}}
    return ", ".join(f"{name}={flat.get(name)}" for name in names)


def _same_assets(metadata: dict, assets: Assets, out: Path) -> Assets:
    begun_with = metadata.get("assets")
    if begun_with not in (None, card.describe_assets(assets)):
        raise InputError(
            f"dataset in {out} was begun with other LIBERO assets",
            found=f"{begun_with['kind']} {begun_with['digest']}",
            expected=f"{assets.kind} {assets.digest}, those in use now",
            fix="name another --out, or bring the former assets back",
        )
    return assets


def _episode_paths(
    configuration: Configuration, schedule: Schedule, staging: Staging
) -> list[Path]:
    """Staged files of the dataset: per task, its first successful attempts."""
    return [
        staging.episode_path(staging.attempt(task, number))
        for task in configuration.tasks
        for number in [n for n, success in schedule.attempts(task).items() if success][
            : configuration.episodes
        ]
    ]


def _write_dataset(configuration: Configuration, paths: list[Path], dataset: Path) -> None:
    """Writes beside `dataset` and renames, so that it is either absent or whole."""
    for leftover in dataset.parent.glob(f"{UNFINISHED}*-dataset"):
        shutil.rmtree(leftover)
    unfinished = dataset.parent / f"{UNFINISHED}{os.getpid()}-dataset"
    unfinished.mkdir()
    write_in_own_process(
        Order(
            name=configuration.dataset_name,
            image_size=configuration.image_size,
            episodes=tuple(str(path.resolve()) for path in paths),
            directory=str(unfinished.resolve()),
            description=f"Demonstrations of LIBERO's {configuration.suite} by a scripted expert.",
        )
    )
    rename_durably(unfinished / configuration.dataset_name, dataset)
    shutil.rmtree(unfinished)


def _write_json(path: Path, content: dict) -> None:
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
