"""LIBERO's suites: their tasks, instructions, official initial states and step limits.

Reads hf-libero's files directly, because `libero.libero.benchmark` imports torch.
"""

from __future__ import annotations

import functools
import io
import pickle
import re
import runpy
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.boot import libero_root

# Step limits of the OpenVLA-OFT evaluation, after the settle steps.
MAX_STEPS: dict[str, int] = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
SUITES: tuple[str, ...] = tuple(MAX_STEPS)
WAIT_STEPS = 10


@dataclass(frozen=True)
class Task:
    """One LIBERO task. `instruction` is its file name in words, as in the public datasets."""

    suite: str
    index: int
    name: str
    instruction: str
    bddl_path: Path
    init_states_path: Path


@functools.cache
def suite_tasks(suite: str) -> tuple[Task, ...]:
    """Tasks of `suite` in the benchmark's order (task order 0).

    Raises:
      InputError: no such suite.
    """
    if suite not in SUITES:
        raise InputError(
            "unknown LIBERO suite",
            found=suite,
            expected="one of " + ", ".join(SUITES),
            fix="name one of these suites",
        )
    root = libero_root()
    names = runpy.run_path(str(root / "benchmark" / "libero_suite_task_map.py"))["libero_task_map"]
    return tuple(
        Task(
            suite=suite,
            index=index,
            name=name,
            instruction=instruction_from_name(name),
            bddl_path=root / "bddl_files" / suite / f"{name}.bddl",
            init_states_path=root / "init_files" / suite / f"{name}.pruned_init",
        )
        for index, name in enumerate(names[suite])
    )


def find_task(suite: str, index_or_name: int | str) -> Task:
    """The task with this index (also as a digit string) or name.

    Raises:
      InputError: no such suite or task; lists the choices.
    """
    tasks = suite_tasks(suite)
    for task in tasks:
        if str(index_or_name) in (str(task.index), task.name):
            return task
    raise InputError(
        f"unknown task of {suite}",
        found=index_or_name,
        expected="one of " + "; ".join(f"{task.index} = {task.name}" for task in tasks),
        fix="name a task by its index or name",
    )


def instruction_from_name(name: str) -> str:
    """'KITCHEN_SCENE3_turn_on_the_stove' -> 'turn on the stove'."""
    return re.sub(r"^[A-Z_]+SCENE\d+_", "", name).replace("_", " ")


def official_states(task: Task) -> np.ndarray:
    """The benchmark's initial states, f64[50, 1 + nq + nv]: time, qpos (m, rad), qvel."""
    with zipfile.ZipFile(task.init_states_path) as archive:
        member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        return _ArrayUnpickler(io.BytesIO(archive.read(member))).load()


class _ArrayUnpickler(pickle.Unpickler):
    """Reads a pickled numpy array and refuses everything else."""

    def find_class(self, module: str, name: str):
        if (module.split(".")[0], name) not in {
            ("numpy", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a numpy array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
