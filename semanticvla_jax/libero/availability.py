"""Which tasks can run with the assets at hand."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.suites import Task

if TYPE_CHECKING:
    from semanticvla_jax.libero.assets.resolve import Assets

# Parts of a room, which belong to its scene file.
_ROOM = frozenset({"table", "kitchen_table", "living_room_table", "study_table", "floor"})


def needed_objects(task: Task) -> set[str]:
    """Kinds of objects and fixtures in the task's scene, such as 'flat_stove'."""
    text = task.bddl_path.read_text()
    sections = re.findall(r"\(:(?:fixtures|objects)\s+([^)]*)\)", text)
    return {kind for section in sections for kind in re.findall(r"-\s+(\w+)", section)} - _ROOM


def missing_objects(task: Task, assets: Assets) -> set[str]:
    """Kinds of objects that the task needs and `assets` does not have."""
    return needed_objects(task) - _objects_in(assets.path)


def available(tasks: Sequence[Task], assets: Assets) -> list[Task]:
    """Those that can run; prints the others."""
    left_out = [task for task in tasks if missing_objects(task, assets)]
    if left_out:
        told = ", ".join(f"{task.suite} {task.index}" for task in left_out)
        print(f"{len(left_out)} of {len(tasks)} tasks left out, objects are missing: {told}")
    return [task for task in tasks if task not in left_out]


def check_available(tasks: Sequence[Task], assets: Assets) -> None:
    """Raises InputError if an object of one of the tasks is missing; names tasks and objects."""
    missing = {task: missing_objects(task, assets) for task in tasks}
    without = [task for task, objects in missing.items() if objects]
    if without:
        kinds = ", ".join(sorted(set().union(*missing.values())))
        told = ", ".join(f"{task.suite} {task.index}" for task in without)
        raise InputError(
            f"{assets.kind} assets",
            found=f"no {kinds}, which tasks need: {told}",
            expected="every object of the chosen tasks",
            fix="use LIBERO's original assets (--assets), or --tasks available",
        )


@functools.cache
def _objects_in(path: Path) -> frozenset[str]:
    return frozenset(file.stem for file in Path(path).rglob("*.xml"))
