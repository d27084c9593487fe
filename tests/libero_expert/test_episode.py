from __future__ import annotations

import numpy as np

from data.libero_expert.episode import Episode, Recording, is_no_op
from data.libero_expert.staging import Attempt
from tests.libero_expert.fakes import fake_episode

OPEN, CLOSED = -1, 1


def action(size: float, gripper: int) -> np.ndarray:
    return np.array([0, 0, size, 0, 0, 0, gripper], np.float32)


def kept(*actions: np.ndarray) -> list[int]:
    recording, steps = Recording(), []
    for index, one in enumerate(actions):
        if recording.wants(one):
            steps.append(index)
            recording.append(image=b"", wrist_image=b"", state=[], joint_state=[], action=one)
    return steps


def test_steps_that_change_nothing_are_dropped():
    steps = kept(
        action(0.0, OPEN),  # 0 dropped: nothing kept yet, the arm stays
        action(0.5, OPEN),  # 1 kept: the arm moves
        action(0.0, OPEN),  # 2 dropped
        action(0.0, CLOSED),  # 3 kept: the gripper closes
        action(0.9e-4, CLOSED),  # 4 dropped: below 1e-4
        action(1.1e-4, CLOSED),  # 5 kept: above 1e-4
        action(0.0, OPEN),  # 6 kept: the gripper opens again
    )
    assert steps == [1, 3, 5, 6]


def test_the_gripper_is_compared_with_the_last_kept_action():
    # The dropped step between them must not count as the last one.
    assert kept(action(0.5, OPEN), action(0, OPEN), action(0, CLOSED)) == [0, 2]


def test_the_gripper_alone_does_not_start_an_episode():
    assert is_no_op(action(0, CLOSED), None)


def test_episodes_survive_storage():
    episode = fake_episode(Attempt(0, 1, 2))
    restored = Episode.from_bytes(episode.to_bytes())
    assert restored.image == episode.image and restored.wrist_image == episode.wrist_image
    assert restored.instruction == episode.instruction and restored.source == episode.source
    for name in ("state", "joint_state", "action"):
        np.testing.assert_array_equal(getattr(restored, name), getattr(episode, name))
        assert getattr(restored, name).dtype == np.float32
