"""The robot of docs/data.md is a whole robot: it checks, and refuses what does not fit it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from data.demonstrations import _checked
from data.template.read import read_demonstrations
from semanticvla_jax.errors import InputError


@pytest.fixture(scope="module")
def robot(repository):
    (code,) = re.findall(r"```python\n(.*?)```", (repository / "docs/data.md").read_text(), re.S)
    names: dict = {}
    exec(code, names)
    return names["MY_ROBOT"]


def record(path, robot, length=4, **changes):
    arrays = {
        "state": np.zeros((length, robot.state_size)),
        "action": np.zeros((length, robot.action_size)),
        "instruction": "open the drawer",
        **{key: np.zeros((length, 16, 24, 3), np.uint8) for key in robot.camera_names},
    }
    np.savez(path, **{**arrays, **changes})


def test_its_parts_agree(robot):
    grouped = [index for indices in robot.action_groups.values() for index in indices]
    assert grouped == list(range(robot.action_size))
    assert set(robot.moves) == set(range(robot.action_size))
    assert max(robot.moves.values()) < robot.state_size
    assert set(robot.opening) == set(robot.action_kinds["gripper"])


def test_recordings_are_read_as_the_tutorial_says(robot, tmp_path):
    record(tmp_path / "b.npz", robot)
    record(tmp_path / "a.npz", robot, length=2)
    read = list(_checked(read_demonstrations(tmp_path, robot), robot))
    assert [(each.source, len(each), each.instruction) for each in read] == [
        ("a", 2, "open the drawer"),
        ("b", 4, "open the drawer"),
    ]
    assert {key: len(files) for key, files in read[1].images.items()} == {
        "image": 4,
        "wrist_image": 4,
    }


@pytest.mark.parametrize(
    "change, message",
    [
        ({"action": np.zeros((4, 6))}, r"demonstration b: found .*'actions': \(4, 6\)"),
        ({"image": np.zeros((3, 16, 24, 3), np.uint8)}, "demonstration b: found .*'image': 3"),
        ({"image": np.zeros((4, 8, 8, 3), np.uint8)}, "images image of b: found 8 x 8 pixels"),
    ],
)
def test_what_does_not_fit_is_named(robot, tmp_path, change, message):
    record(tmp_path / "a.npz", robot)
    record(tmp_path / "b.npz", robot, **change)
    with pytest.raises(InputError, match=message):
        list(_checked(read_demonstrations(tmp_path, robot), robot))


def test_a_damaged_recording_is_named(robot, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="recording .*a.npz"):
        list(read_demonstrations(tmp_path, robot))
