"""The files that describe a dataset: metadata.json for programs, README.md for people."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Sequence

from data.libero_expert.configuration import Configuration
from data.libero_expert.episode import Episode
from data.libero_expert.schedule import Schedule
from data.libero_expert.staging import Staging
from semanticvla_jax.libero.assets.resolve import Assets
from semanticvla_jax.libero.suites import suite_tasks

PACKAGES = (
    "semanticvla_jax", "mujoco", "robosuite", "hf-libero", "numpy", "pillow",
    "tensorflow-datasets",
)  # fmt: skip

ASSET_KINDS = {
    "generated": "this project's own models of LIBERO's objects and scenes",
    "original": "LIBERO's original models",
    "directory": "models from a directory the user named",
}
LICENSES = {
    "generated": "MIT, as this project.",
    "original": "MIT, as this project. The licence of LIBERO's models in the images applies too.",
    "directory": "MIT, as this project. The licence of the models in the images applies too.",
}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def describe_assets(assets: Assets) -> dict[str, str]:
    return {"kind": assets.kind, "digest": assets.digest}


def task_results(
    configuration: Configuration, schedule: Schedule, staging: Staging, episodes: Sequence[Episode]
) -> list[dict]:
    """One row per task: attempts, successes, steps written and why attempts failed."""
    steps: Counter[str] = Counter()
    for episode in episodes:
        steps[episode.task_name] += len(episode)
    rows = []
    for index in configuration.tasks:
        task = suite_tasks(configuration.suite)[index]
        outcomes = schedule.attempts(index)
        failed = [number for number, success in outcomes.items() if not success]
        rows.append(
            {
                "index": index,
                "name": task.name,
                "instruction": task.instruction,
                "attempts": len(outcomes),
                "episodes": len(outcomes) - len(failed),
                "steps": steps[task.name],
                "failures": [_failure(staging, index, number) for number in failed],
            }
        )
    return rows


def _failure(staging: Staging, task: int, number: int) -> dict:
    attempt = staging.attempt(task, number)
    crashed = not staging.failure_path(attempt).exists()
    reason = "the worker crashed" if crashed else staging.load_failure(attempt).reason
    return {"attempt": number, "seed": attempt.seed, "reason": reason}


def readme(metadata: dict) -> str:
    """The dataset card, in Markdown."""
    settings, assets, tasks = metadata["configuration"], metadata["assets"], metadata["tasks"]
    noise = settings["noise"]
    attempts = sum(task["attempts"] for task in tasks)
    episodes = sum(task["episodes"] for task in tasks)
    rows = "\n".join(
        f"| {task['index']} | {task['instruction']} | {task['episodes']} | {task['steps']} "
        f"| {task['episodes']}/{task['attempts']} |"
        for task in tasks
    )
    jitter = settings["jitter"]
    placement = (
        "no jitter"
        if jitter is None
        else f"uniform jitter in xy: target +-{100 * jitter:g} cm, container "
        f"+-{100 * jitter / 2:g} cm, other objects +-{100 * jitter / 6:g} cm; "
        "arm joints N(0, 0.02 rad)"
    )
    packages = ", ".join(f"{name} {version}" for name, version in metadata["versions"].items())
    return f"""# {metadata["dataset"]}: demonstrations by a scripted expert

{episodes} successful episodes, {sum(task["steps"] for task in tasks)} steps, of LIBERO's
{settings["suite"]} suite, simulated at 20 Hz. TFDS/RLDS in the layout of the public
`{metadata["dataset"]}` dataset, version {metadata["version"]}, split `train`, images
{settings["image_size"]} x {settings["image_size"]}.

![first, middle and last frames, both cameras](contact_sheet.png)

| task | instruction | episodes | steps | expert success |
|---|---|---|---|---|
{rows}

The expert succeeded in {episodes} of {attempts} attempts ({100 * episodes / attempts:.1f} %);
failures are left out here and listed in `metadata.json`.

## How it was made
- **Placement**: drawn from each task's own sampler, {placement}. LIBERO's official initial
  states 0 to 49 are not used. Seed {settings["seed"]}.
- **Disturbance**: white noise on the executed action (position {noise["position"]:g}, rotation
  {noise["rotation"]:g}) and bursts (probability {noise["burst_probability"]:g} per step,
  {noise["burst_steps_min"]} to {noise["burst_steps_max"]} steps, magnitude
  {noise["burst_magnitude_min"]:g} to {noise["burst_magnitude_max"]:g}). The stored action is the
  expert's clean one.
- **No-ops** are dropped as in OpenVLA's LIBERO data: arm command below 1e-4 and an unchanged
  gripper.
- **Images**: {settings["rendering"]} rendering, both cameras rotated by 180 degrees, JPEG quality
  95 with 4:2:0 chroma.
- **Objects and scenes**: {ASSET_KINDS[assets["kind"]]} (digest `{assets["digest"]}`).
- **Versions**: {packages}.

## Fields
`steps/observation/{{image, wrist_image, state f32[8], joint_state f32[7]}}`, `steps/action f32[7]`,
`steps/{{discount, reward, is_first, is_last, is_terminal, language_instruction}}`,
`episode_metadata/file_path` (suite, task, attempt, seed). State: end-effector position (m),
axis-angle (rad), two finger positions (m). Action: translation / 0.05 m and rotation / 0.5 rad in
[-1, 1], gripper -1 open and +1 close. `dataset_statistics.json` holds the normalisation statistics,
taken after the gripper's change to 1 open, 0 close.

## Licence
{LICENSES[assets["kind"]]}
"""
