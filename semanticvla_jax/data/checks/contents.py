"""How much there is: episodes, lengths, repeats, instructions, steps in which nothing moves."""

from __future__ import annotations

from collections import Counter

import numpy as np

from semanticvla_jax.data.checks import finding
from semanticvla_jax.data.checks.finding import Finding
from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec
from semanticvla_jax.text.tokenizers import PromptTokenizer

FEW_EPISODES = 10
MANY_NO_OPS = 0.05
STANDING_STILL = 1e-4  # norm of the arm's motion; OpenVLA's filter of no-ops


def size(dataset: EpisodeSource, robot: RobotSpec) -> list[Finding]:
    found = (
        f"{dataset.episode_count:,} episodes, {dataset.frame_count:,} steps "
        f"({dataset.frame_count / robot.control_rate / 60:.1f} minutes at "
        f"{robot.control_rate:g} Hz), state {robot.state_size} and action {robot.action_size} "
        f"numbers as {robot.name} has"
    )
    if dataset.episode_count < FEW_EPISODES:
        return [
            finding.warning(
                "size",
                found,
                expected=f"at least {FEW_EPISODES} episodes; the LIBERO suites have 50 per task",
                fix="record more demonstrations before training in earnest",
            )
        ]
    return [finding.ok("size", found)]


def episode_lengths(dataset: EpisodeSource, robot: RobotSpec) -> list[Finding]:
    """Episodes shorter than a chunk give no training sample."""
    lengths, chunk = np.diff(dataset.episode_start), robot.chunk_length
    short = np.flatnonzero(lengths < chunk)
    samples = int(np.maximum(lengths - chunk + 1, 0).sum())
    found = (
        f"{lengths.min()} to {lengths.max()} steps, median {np.median(lengths):g}; "
        f"{samples:,} training samples of {chunk} actions"
    )
    if not len(short):
        return [finding.ok("episode lengths", found)]
    tell = finding.warning if samples else finding.error
    return [
        tell(
            "episode lengths",
            f"{found}; too short: episodes {finding.several(list(map(str, short)))}",
            expected=f"at least {chunk} steps, the length of a chunk",
            fix="record longer episodes, or set config.data.tail=repeat_last",
        )
    ]


def repeats(dataset: EpisodeSource, robot: RobotSpec) -> list[Finding]:
    """Episodes whose every number equals another's leak from training into validation."""
    starts = dataset.episode_start
    numbers = [
        (dataset.states[start:stop].tobytes(), dataset.actions[start:stop].tobytes())
        for start, stop in zip(starts[:-1], starts[1:], strict=True)
    ]
    first: dict = {}
    doubles = [
        f"{number} = {first[key]}"
        for number, key in enumerate(numbers)
        if first.setdefault(key, number) != number
    ]
    if not doubles:
        return [finding.ok("repeated episodes", "none")]
    return [
        finding.warning(
            "repeated episodes",
            f"{len(doubles)} ({finding.several(doubles)})",
            expected="every demonstration once; a repeat is also validated on what it trained on",
            fix="remove the repeats",
        )
    ]


def instructions(dataset: EpisodeSource, robot: RobotSpec) -> list[Finding]:
    counts = Counter(dataset.instructions)
    empty = [str(n) for n, text in enumerate(dataset.instructions) if not text.strip()]
    if empty:
        return [
            finding.error(
                "instructions",
                f"empty in {len(empty)} episodes: {finding.several(empty)}",
                expected="the task in words, in every episode",
                fix="write the dataset again with language_instruction filled in",
            )
        ]
    examples = [f"{text!r} x {count}" for text, count in counts.most_common()]
    too_long = [str(problem) for text in counts if (problem := _too_long(text))]
    if too_long:
        return [
            finding.warning(
                "instructions",
                finding.several(too_long, 2),
                expected="sentences that fit the default prompt length",
                fix="shorten them, or raise config.data.prompt_length and text_length",
            )
        ]
    return [finding.ok("instructions", f"{len(counts)} different: {finding.several(examples, 3)}")]


def _too_long(text: str) -> InputError | None:
    try:
        PromptTokenizer().encode(text)
    except InputError as problem:
        return problem
    return None


def no_ops(dataset: EpisodeSource, robot: RobotSpec) -> list[Finding]:
    """Steps that tell the arm to stay and the gripper nothing new."""
    grippers = list(robot.action_kinds["gripper"])
    arm = [dim for dim in range(robot.action_size) if dim not in grippers]
    first = dataset.episode_start[:-1]
    change = np.diff(dataset.actions, axis=0, prepend=dataset.actions[:1])
    motion = change if robot.absolute else dataset.actions
    still = np.linalg.norm(motion[:, arm], axis=1) < STANDING_STILL
    same = (change[:, grippers] == 0).all(1)
    still[first] &= not robot.absolute  # an absolute first step has nothing to differ from
    same[first] = True
    share = float((still & same).mean())
    if share <= MANY_NO_OPS:
        return [finding.ok("no-ops", f"{share:.1%} of the steps")]
    return [
        finding.warning(
            "no-ops",
            f"{share:.1%} of the steps tell the robot to stay as it is",
            expected=f"at most {MANY_NO_OPS:.0%}; a policy trained on pauses learns to stop",
            fix="drop them, as `python -m data.libero_hdf5` does",
        )
    ]
