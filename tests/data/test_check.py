"""The check approves of what is right, and names what is wrong in broken copies of it."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from semanticvla_jax.data import normalization
from semanticvla_jax.data.check import check, main
from semanticvla_jax.data.checks import contents, motion, numbers
from semanticvla_jax.data.checks.finding import Verdict
from semanticvla_jax.data.rlds import open_dataset
from semanticvla_jax.robots import ALOHA, LIBERO
from tests.data.plausible import plausible_episodes
from tests.data.tfds_writer import write_dataset


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("good"), plausible_episodes())


def findings_of(tmp_path, episodes):
    findings = check(write_dataset(tmp_path, episodes), LIBERO)
    return {finding.subject: finding for finding in findings}


def broken(tmp_path, change) -> dict:
    """Findings on plausible episodes after `change(episode)`."""
    episodes = plausible_episodes()
    for episode in episodes:
        change(episode)
    return findings_of(tmp_path, episodes)


def assert_only(findings: dict, verdict: Verdict, *subjects: str):
    bad = {subject for subject, each in findings.items() if each.verdict is not Verdict.OK}
    assert bad == set(subjects), "\n".join(map(str, findings.values()))
    assert {findings[subject].verdict for subject in subjects} == {verdict}


def test_a_good_dataset_is_all_ok(good, tmp_path):
    findings = check(good, LIBERO, tmp_path / "out")
    assert [str(each) for each in findings if each.verdict is not Verdict.OK] == []
    assert len(findings) == 14  # the files, 11 on numbers, 2 cameras
    out = tmp_path / "out" / "libero_object_no_noops"
    assert sorted(path.name for path in out.iterdir()) == [
        "actions.png",
        "contact_sheet.png",
        "dataset_statistics.json",
        "states.png",
    ]
    with Image.open(out / "contact_sheet.png") as sheet:  # 6 of 12 episodes in at most 8 rows
        assert sheet.size == (6 * 132 + 4, 6 * 148 + 16)
    dataset = open_dataset(good, LIBERO)
    saved = normalization.load(out / "dataset_statistics.json")["libero_object_no_noops"]
    np.testing.assert_allclose(saved.proprio.mean, dataset.states.mean(0), atol=1e-6)


def test_random_numbers_are_not_approved(tiny_dataset, capsys):
    """The fixture's states know nothing of its actions: nothing can be told, units are wrong."""
    with pytest.raises(SystemExit) as ended:
        main([str(tiny_dataset), "--robot", "libero"])
    printed = capsys.readouterr().out
    assert ended.value.code == 1
    assert "WARNING  delta or absolute: cannot be told: the state hardly follows" in printed
    assert "ERROR    range of states: x from 0 to 4 " in printed
    assert printed.rstrip().endswith(": do not train on this")


def test_nan_is_named_and_the_rest_still_checked(tmp_path):
    episodes = plausible_episodes()
    episodes[5]["action"][3, 2] = np.nan
    findings = findings_of(tmp_path, episodes)  # two shards: the third of the second
    (subject,) = (subject for subject in findings if "step 3" in subject)
    assert subject.startswith("action at step 3 of episode 2 of ") and "00001-of" in subject
    assert findings[subject].found == "delta_z = nan"
    assert_only(findings, Verdict.ERROR, subject)
    assert findings["size"].found.startswith("11 episodes, 330 steps")


def test_a_truncated_file_is_named_and_the_rest_still_checked(good, tmp_path):
    version = shutil.copytree(good, tmp_path / "name" / "1.0.0")
    path = next(version.glob("*-00001-of-*"))
    path.write_bytes(path.read_bytes()[:-100])
    findings = {each.subject: each for each in check(version, LIBERO)}
    assert_only(findings, Verdict.ERROR, f"truncated TFRECORD {path}")
    assert findings["size"].found.startswith("11 episodes")


def test_wrong_gripper_sign(tmp_path):
    findings = broken(tmp_path, lambda episode: episode["action"].__imul__([1] * 6 + [-1]))
    assert_only(findings, Verdict.ERROR, "sign of gripper")
    assert "negate" in findings["sign of gripper"].fix


def test_gripper_of_another_range(tmp_path):
    def zero_to_one(episode):
        episode["action"][:, 6] = (episode["action"][:, 6] + 1) / 2

    findings = broken(tmp_path, zero_to_one)
    assert_only(findings, Verdict.WARNING, "sign of gripper")
    assert (
        "50.0% of the commands are none the robot can return" in findings["sign of gripper"].found
    )


def test_absolute_actions(tmp_path):
    def absolute(episode):
        episode["action"][:-1, :3] = episode["state"][1:, :3]
        episode["action"][-1, :3] = episode["state"][-1, :3]

    findings = broken(tmp_path, absolute)
    assert_only(findings, Verdict.ERROR, "delta or absolute")
    assert "look absolute" in findings["delta or absolute"].found


def test_a_reversed_axis_is_named(tmp_path):
    findings = broken(tmp_path, lambda episode: episode["action"].__imul__([1, -1] + [1] * 5))
    assert_only(findings, Verdict.ERROR, "delta or absolute")
    assert findings["delta or absolute"].found.startswith("delta_y moves against the state")


def test_millimetres(tmp_path):
    findings = broken(tmp_path, lambda episode: episode["state"].__imul__([1000] * 3 + [1] * 5))
    assert_only(findings, Verdict.ERROR, "range of states")
    assert "outside -3 to 3 [m]" in findings["range of states"].found


def test_frozen_dim(tmp_path):
    findings = broken(tmp_path, lambda episode: episode["action"].__imul__([1] * 5 + [0, 1]))
    assert_only(findings, Verdict.WARNING, "frozen dims")
    assert findings["frozen dims"].found == "action delta_rotation_z = 0"


def test_a_glitch_that_squeezes_the_rest(tmp_path):
    episodes = plausible_episodes()
    for episode in episodes:
        episode["action"][:, 4] *= 0.01
    episodes[3]["action"][7, 4] = 1.0
    findings = findings_of(tmp_path, episodes)
    assert_only(findings, Verdict.WARNING, "normalisation")
    assert "delta_rotation_y from" in findings["normalisation"].found


def test_pauses(tmp_path):
    def pause(episode):
        episode["action"][5:10, :6] = 0
        episode["state"][6:11] = episode["state"][5]

    findings = broken(tmp_path, pause)
    assert findings["no-ops"].verdict is Verdict.WARNING
    assert findings["no-ops"].found.startswith("16.7% of the steps")


def test_empty_instruction(tmp_path):
    episodes = plausible_episodes()
    episodes[0]["instruction"] = " "
    findings = findings_of(tmp_path, episodes)
    assert_only(findings, Verdict.ERROR, "instructions")
    assert findings["instructions"].found == "empty in 1 episodes: 0"


def test_a_repeated_episode(tmp_path):
    episodes = plausible_episodes()
    episodes[4] = episodes[2]
    findings = findings_of(tmp_path, episodes)
    assert_only(findings, Verdict.WARNING, "repeated episodes")
    assert "2 = 1" in findings["repeated episodes"].found  # in the order of the files


def test_too_short_and_too_few(tmp_path):
    episodes = plausible_episodes(3)
    episodes[1] = {
        name: value if name == "instruction" else value[:7] for name, value in episodes[1].items()
    }
    findings = findings_of(tmp_path, episodes)
    assert_only(findings, Verdict.WARNING, "size", "episode lengths")
    assert "too short: episodes 2" in findings["episode lengths"].found


def test_both_cameras_the_same_and_one_that_is_off(tmp_path):
    def same(episode):
        episode["images"][:, 1] = episode["images"][:, 0]

    def off(episode):
        episode["images"][:, 1] = 0

    def stuck(episode):
        episode["images"][:, 0] = episode["images"][0, 0]

    findings = broken(tmp_path / "same", same)
    assert findings["camera wrist_image"].found == "the same images as image"
    findings = broken(tmp_path / "off", off)
    assert_only(findings, Verdict.WARNING, "camera wrist_image")
    assert "36 of 36 images show one plain colour" in findings["camera wrist_image"].found
    findings = broken(tmp_path / "stuck", stuck)
    assert_only(findings, Verdict.WARNING, "camera image")
    assert "equal in every episode" in findings["camera image"].found


def test_an_image_damaged_in_the_middle(good, tmp_path):
    version = shutil.copytree(good, tmp_path / "name" / "1.0.0")
    dataset = open_dataset(version, LIBERO)
    middle = int(dataset.episode_start[1]) + 15
    start, stop = dataset.image_start[middle, 1], dataset.image_stop[middle, 1]
    path = dataset.files[dataset.frame_file[middle]].path
    content = bytearray(path.read_bytes())
    content[start:stop] = bytes(stop - start)
    path.write_bytes(content)
    findings = {each.subject: each for each in check(version, LIBERO)}
    assert_only(findings, Verdict.ERROR, "camera wrist_image")
    assert "1 of 36 images do not decode: episode 1 step 15" in findings["camera wrist_image"].found


def test_another_robot_and_nothing_at_all(good, tmp_path, capsys):
    for path, robot, said in (
        (good, "aloha", "ERROR    steps/action of dataset"),
        (tmp_path, "libero", "an empty directory"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([str(path), "--robot", robot])
        assert ended.value.code == 1
        assert said in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main([str(good), "--robot", "ur5"])
    assert ended.value.code == 2


@dataclass
class Joints:
    """A source of numbers alone: two arms that go where they are told, half way per step."""

    delta: bool = False
    gripper_sign: float = 1.0
    episode_count: int = 12
    length: int = 60

    def __post_init__(self):
        rng = np.random.default_rng(0)
        count = self.episode_count * self.length
        targets = np.cumsum(rng.normal(0, 0.05, (count, 14)), axis=0)
        targets = np.sin(targets)  # stays within a radian
        targets[:, [6, 13]] = rng.uniform(0, 1, (count // 20, 2)).repeat(20, 0)
        states = np.zeros_like(targets)
        for step in range(1, count):
            states[step] = states[step - 1] + 0.5 * (targets[step - 1] - states[step - 1])
        actions = np.diff(states, axis=0, append=states[-1:]) if self.delta else targets.copy()
        actions[:, [6, 13]] = targets[:, [6, 13]] * self.gripper_sign
        self.states, self.actions = states.astype(np.float32), actions.astype(np.float32)
        self.episode_start = np.arange(self.episode_count + 1) * self.length


def test_absolute_robots_are_told_from_delta_ones():
    (right,) = motion.delta_or_absolute(Joints(), ALOHA)
    assert right.verdict is Verdict.OK and right.found.startswith("absolute;")
    (wrong,) = motion.delta_or_absolute(Joints(delta=True), ALOHA)
    assert wrong.verdict is Verdict.ERROR and "look like deltas" in wrong.found
    assert [each.verdict for each in motion.gripper_sign(Joints(), ALOHA)] == [Verdict.OK] * 2
    signs = motion.gripper_sign(Joints(gripper_sign=-1.0), ALOHA)
    assert [each.verdict for each in signs] == [Verdict.ERROR] * 2


def test_no_ops_of_an_absolute_robot_are_repeated_targets():
    joints = Joints()
    assert contents.no_ops(joints, ALOHA)[0].verdict is Verdict.OK
    joints.actions[20:30] = joints.actions[20]
    joints.actions[90:] = joints.actions[90]
    share = (9 + 10 * 60 + 30 - 1 - 10) / 720  # first steps differ from nothing
    (finding,) = contents.no_ops(joints, ALOHA)
    assert finding.found.startswith(f"{share:.1%}")


def test_a_dim_that_quantiles_collapse():
    joints = Joints()
    joints.states[:, 3] = 0
    joints.states[5, 3] = 1
    robot = dataclasses.replace(ALOHA, normalisation="bounds_q99")
    (finding,) = numbers.normalisation(joints, robot)
    assert finding.verdict is Verdict.WARNING and "state left_forearm_roll" in finding.found


def test_the_command_as_typed(good):
    command = [sys.executable, "-m", "semanticvla_jax.data.check", str(good), "--robot", "libero"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "14 OK, 0 WARNING, 0 ERROR: good to train on" in finished.stdout
