"""LeRobot, LIBERO's HDF5 and one's own recordings become RLDS datasets that training reads."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from data.libero_hdf5.read import instruction_of, kept_steps, read_demonstrations
from semanticvla_jax.data.check import check_dataset
from semanticvla_jax.data.checks.finding import Verdict
from semanticvla_jax.data.images import decode_jpeg
from semanticvla_jax.data.rlds import open_datasets
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import LIBERO
from tests.data.lerobot_writer import write_version_3
from tests.data.plausible import plausible_episode

needs_tfds = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_datasets") is None, reason="needs tensorflow-datasets"
)
EPISODES = 12
RUN_ALL = """
import json, runpy, sys
outcomes = {}
for command in json.loads(sys.argv[1]):
    module, *sys.argv[1:] = command
    try:
        runpy.run_module(module, run_name="__main__")
        outcomes[" ".join(command)] = 0
    except SystemExit as ended:
        outcomes[" ".join(command)] = ended.code
print(json.dumps(outcomes))
"""


def episodes():
    return [plausible_episode(number, length=30, size=64) for number in range(EPISODES)]


def write_hdf5(path, episodes):
    """As LIBERO writes: cameras not rotated; observation j is from after action j."""
    with h5py.File(path, "w") as file:
        for number, episode in enumerate(episodes):
            state, images = episode["state"], episode["images"][:, :, ::-1, ::-1]
            group = file.create_group(f"data/demo_{number}")
            first = np.zeros((1, 7))  # decided before the first observation
            group["actions"] = np.concatenate([first, episode["action"][:-1]])
            group["obs/ee_states"], group["obs/gripper_states"] = state[:, :6], state[:, 6:]
            group["obs/agentview_rgb"] = images[:, 0]
            group["obs/eye_in_hand_rgb"] = images[:, 1]


def write_npz(directory, episodes):
    directory.mkdir()
    for number, episode in enumerate(episodes):
        np.savez(
            directory / f"take_{number:03d}.npz",
            state=episode["state"],
            action=episode["action"],
            instruction=episode["instruction"],
            image=episode["images"][:, 0],
            wrist_image=episode["images"][:, 1],
        )


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """(directory of the datasets, what was said, exit codes) of all commands, in one process."""
    root = tmp_path_factory.mktemp("conversion")
    out, recordings = root / "out", episodes()
    write_version_3(root / "kitchen", recordings)
    (root / "hdf5").mkdir()
    write_hdf5(root / "hdf5" / "KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5", recordings)
    write_npz(root / "takes", recordings)
    recordings[7]["state"] = recordings[7]["state"][:-1]
    write_npz(root / "broken", recordings)
    (root / "broken" / "none").mkdir()
    robot = ["--robot", "libero", "--out", str(out)]
    template = ["data.template", str(root / "takes"), *robot, "--name", "takes"]
    commands = [
        ["data.lerobot", str(root / "kitchen"), *robot],
        ["data.libero_hdf5", str(root / "hdf5"), "--suite", "libero_90", "--out", str(out)],
        template,
        template,
        ["data.template", str(root / "broken"), *robot, "--name", "broken"],
        ["data.template", str(root / "broken" / "none"), *robot, "--name", "none"],
    ]
    finished = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    codes = list(json.loads(finished.stdout.splitlines()[-1]).values())
    return out, finished.stderr, codes


def read_back(out, name):
    """(dataset, i64[E]: which of `episodes` each of its episodes is), told by the first state."""
    (dataset,) = open_datasets(out / name, LIBERO)
    originals = np.stack([episode["state"][0] for episode in episodes()])
    firsts = dataset.states[dataset.episode_start[:-1]]
    distance = np.abs(firsts[:, None] - originals).max(2)
    assert (distance.min(1) == 0).all() and sorted(distance.argmin(1)) == list(range(EPISODES))
    return dataset, distance.argmin(1)


@needs_tfds
@pytest.mark.parametrize(
    "name, kept, grey_levels", [("kitchen", 30, 5), ("libero_90_no_noops", 29, 3), ("takes", 30, 3)]
)
def test_everything_arrives(converted, name, kept, grey_levels):
    dataset, numbers = read_back(converted[0], name)
    assert np.diff(dataset.episode_start).tolist() == [kept] * EPISODES
    for place, number in enumerate(numbers):
        original, start = episodes()[number], dataset.episode_start[place]
        rows = slice(start, start + kept)
        np.testing.assert_array_equal(dataset.states[rows], original["state"][:kept])
        np.testing.assert_array_equal(dataset.actions[rows], original["action"][:kept])
        said = "turn on the stove" if "libero" in name else original["instruction"]
        assert dataset.instructions[place] == said
        for step in (0, 13, kept - 1):
            for camera, jpeg in enumerate(dataset.jpegs(int(start) + step)):
                found, wanted = decode_jpeg(jpeg).astype(int), original["images"][step, camera]
                assert np.abs(found - wanted).mean() < grey_levels
    verdicts = [finding.verdict for finding in check_dataset(dataset, LIBERO)]
    assert set(verdicts) == {Verdict.OK}


@needs_tfds
def test_what_cannot_be_written_leaves_nothing(converted):
    out, said, codes = converted
    names = {path.name for path in out.iterdir()}
    assert names == {".lock", "kitchen", "libero_90_no_noops", "takes"}
    assert codes == [0, 0, 2, 2, 2]  # the template's first success has the same command
    assert "found one that is there already" in said
    assert "error: demonstration take_007: found {'states': (29, 8)" in said
    assert "error: dataset none: found no demonstrations" in said


def test_observations_are_paired_with_the_action_that_follows(tmp_path):
    path = tmp_path / "pick_up_the_milk_demo.hdf5"
    (original,) = [plausible_episode(0, length=30, size=64)]
    write_hdf5(path, [original])
    (demonstration,) = read_demonstrations(path)
    np.testing.assert_array_equal(demonstration.actions, original["action"][:29])
    np.testing.assert_array_equal(demonstration.states, original["state"][:29])
    assert demonstration.instruction == "pick up the milk"


def test_no_ops_are_dropped_by_the_released_rule():
    actions = np.zeros((7, 7), np.float32)
    actions[:, 6] = [-1, -1, -1, 1, 1, -1, -1]
    actions[1, 0], actions[4, 2], actions[6, 1] = 0.5, 5e-5, 2e-4
    # 0: nothing to change yet; 1 moves; 2 rests; 3 closes; 4 too small; 5 opens; 6 moves a little
    assert kept_steps(actions).tolist() == [1, 3, 5, 6]


def test_damaged_and_missing_files(tmp_path):
    from data.libero_hdf5.read import find_files

    path = tmp_path / "open_the_drawer_demo.hdf5"
    with pytest.raises(InputError, match=r"found no \*_demo.hdf5"):
        find_files(tmp_path)
    path.write_bytes(b"no hdf5")
    with pytest.raises(InputError, match="demonstrations .*open_the_drawer_demo.hdf5"):
        list(read_demonstrations(path))


@pytest.mark.parametrize(
    "name, words",
    [
        ("LIVING_ROOM_SCENE5_put_the_red_mug_on_the_plate", "put the red mug on the plate"),
        ("pick_up_the_milk_and_place_it_in_the_basket", None),
    ],
)
def test_instructions_are_file_names_in_words(tmp_path, name, words):
    expected = words or name.replace("_", " ")
    assert instruction_of(tmp_path / f"{name}_demo.hdf5") == expected
