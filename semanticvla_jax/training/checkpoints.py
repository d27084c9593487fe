"""Orbax checkpoints: parameters, optimizer, data position, configuration and statistics.

Layout: WORKDIR/checkpoints/STEP/{params,optimizer,data,meta}, and `average` where there is a moving
average of the trainable parameters. A step directory is complete or absent: Orbax writes to a
temporary name and renames, so a kill at any moment leaves the previous step intact. Checksums of
everything are in `meta`. One that was damaged later is moved to WORKDIR/damaged/STEP.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import checksums
from semanticvla_jax.training.stored import StoredCheckpoints


class Checkpoints(StoredCheckpoints):
    """The checkpoints of one training run, for the run itself: there may be one writer only."""

    def __init__(self, workdir: str | Path, *, keep: int = 2):
        super().__init__(workdir)
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                cleanup_tmp_directories=True,
                create=True,
                single_host_load_and_broadcast=True,
            ),
        )

    def steps(self) -> list[int]:
        """Finished ones, the newest first; the same in every process."""
        return sorted(self._manager.all_steps(), reverse=True)

    def save(
        self, step: int, *, params: Any, optimizer: Any, average: Any, data: dict, meta: dict
    ) -> None:
        """Starts an asynchronous save, after the one before it.

        Args:
          step: its name.
          params, optimizer: trees of arrays.
          average: a tree like the trainable part of `params`, or None.
          data, meta: JSON-able dicts.

        Raises:
          InputError: this save, or the one before it, could not be written.
        """
        arrays = {"params": params, "optimizer": optimizer}
        if average is not None:
            arrays["average"] = average
        sums = {item: int(checksums.of_arrays(tree)) for item, tree in arrays.items()}
        sums |= {"data": checksums.of_json(data), "meta": checksums.of_json(meta)}
        items = {item: ocp.args.StandardSave(tree) for item, tree in arrays.items()}
        items["data"] = ocp.args.JsonSave(data)
        items["meta"] = ocp.args.JsonSave(meta | {"checksums": sums})
        with self._explaining():
            self._manager.save(step, args=ocp.args.Composite(**items))

    def save_params(self, step: int, *, params: Any, meta: dict) -> None:
        """Saves parameters alone, which may be part of a model's; `read_params` and
        `initial.parameters` read them, training does not continue from them.

        `meta` may be another checkpoint's; its checksums are left behind.
        """
        meta = {name: value for name, value in meta.items() if name != "checksums"}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params), meta=ocp.args.JsonSave(meta)
            ),
        )

    def check(self) -> None:
        """Raises InputError if a save under way has failed by now."""
        with self._explaining():
            self._manager.check_for_errors()

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turns what a failed save raises into an InputError."""
        try:
            yield
        except (OSError, ValueError) as error:
            kept = ocp.utils.checkpoint_steps(self.directory)
            raise InputError(
                f"checkpoint in {self.directory}",
                found=f"{type(error).__name__}: {error}",
                expected="a disk that takes it",
                fix="make room if the disk is full, and rerun: "
                + (f"it continues from step {max(kept)}, which is whole" if kept else "from 0"),
            ) from error

    def set_aside(self, step: int) -> Path:
        """Moves a damaged checkpoint out of the way; returns where to. All processes call it."""
        aside = self.directory.parent / "damaged" / str(step)
        if jax.process_index() == 0:
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(exist_ok=True)
            (self.directory / str(step)).rename(aside)
        multihost_utils.sync_global_devices("set aside")
        self._manager.reload()
        return aside

    def close(self) -> None:
        """Waits for a save under way.

        Raises:
          InputError: it could not be written.
        """
        with self._explaining():
            self._manager.wait_until_finished()
        self._manager.close()


def open_for_reading(path: str | Path, step: int | None = None) -> tuple[StoredCheckpoints, int]:
    """Finds the checkpoint meant by a work directory, its checkpoints folder, or one step's folder.

    A run may go on writing meanwhile.

    Raises:
      InputError: nothing there, or no such step; the message lists the steps present.
    """
    path = Path(path).resolve()
    if path.name.isdigit() and (path / "params").is_dir():
        path, step = path.parent, int(path.name)
    workdir = path.parent if path.name == "checkpoints" else path
    if not (workdir / "checkpoints").is_dir():
        raise InputError(
            "checkpoint",
            found=f"no 'checkpoints' folder in {workdir}",
            expected="the --workdir of a training run, or one of its checkpoints/STEP folders",
            fix="pass the directory given to semanticvla_jax.train as --workdir",
        )
    checkpoints = StoredCheckpoints(workdir)
    steps = checkpoints.steps()[::-1]
    step = step if step is not None else (steps[-1] if steps else None)
    if step not in steps:
        raise InputError(
            f"checkpoint step in {workdir}",
            found=f"step {step}" if step is not None else "no finished checkpoint",
            expected=f"one of {steps}" if steps else "at least one",
            fix="choose a step that exists, or train first",
        )
    return checkpoints, step


def abstract(tree: Any, shardings: Any) -> Any:
    """ShapeDtypeStructs of a tree, with shardings, as `StoredCheckpoints.restore` wants them."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings,
    )
