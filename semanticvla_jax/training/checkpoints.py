"""Orbax checkpoints: parameters, optimizer, data position, configuration and statistics.

Layout: WORKDIR/checkpoints/STEP/{params,optimizer,data,meta}, and `average` where there is a moving
average of the trainable parameters. A step directory is complete or absent: Orbax writes to a
temporary name and renames, so a kill at any moment leaves the previous step intact. One that was
damaged later is moved to WORKDIR/damaged/STEP.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import parameters

# Settings that may change between runs of the same training.
OPERATIONAL = (
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "validate_every",
    "validation_batches",
    "profile_steps",
    "wandb",
    "data.workers",
    "mesh.data",
    "mesh.fsdp",
    "mesh.tensor",
)
# What runs did before a setting existed.
BEFORE = {"accumulate_steps": 1, "ema_decay": 0.0}


class Restored(NamedTuple):
    """What training continues from; `average` is None where none is kept."""

    params: Any
    optimizer: Any
    average: Any
    data: dict


class Checkpoints:
    """The checkpoints of one training run."""

    def __init__(self, workdir: str | Path, *, keep: int = 2):
        self.directory = Path(workdir).resolve() / "checkpoints"
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, cleanup_tmp_directories=True, create=True
            ),
        )

    def steps(self) -> list[int]:
        """Finished ones, the newest first."""
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
        items = {
            "params": ocp.args.StandardSave(params),
            "optimizer": ocp.args.StandardSave(optimizer),
            "data": ocp.args.JsonSave(data),
            "meta": ocp.args.JsonSave(meta),
        }
        if average is not None:
            items["average"] = ocp.args.StandardSave(average)
        with self._explaining():
            self._manager.save(step, args=ocp.args.Composite(**items))

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
        """Moves a damaged checkpoint out of the way; returns where to."""
        aside = self.directory.parent / "damaged" / str(step)
        if jax.process_index() == 0:
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(exist_ok=True)
            (self.directory / str(step)).rename(aside)
        multihost_utils.sync_global_devices("set aside")
        self._manager.reload()
        return aside

    def save_params(self, step: int, *, params: Any, meta: dict) -> None:
        """Saves parameters alone, which may be part of a model's; `read_params` and
        `initial.parameters` read them, training does not continue from them."""
        self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params), meta=ocp.args.JsonSave(meta)
            ),
        )

    def params_shapes(self, step: int) -> dict:
        """Nested dict of jax.ShapeDtypeStruct of the stored parameters."""
        return self._shapes(step, "params")

    def _shapes(self, step: int, item: str) -> dict:
        with ocp.StandardCheckpointer() as checkpointer:
            stored = checkpointer.metadata(self.directory / str(step) / item).item_metadata
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), stored.tree)

    def restore(self, step: int, *, params: Any, optimizer: Any, average: Any) -> Restored:
        """Restores straight into the shardings of the abstract trees.

        Args:
          step: which checkpoint.
          params: tree of ShapeDtypeStruct with shardings.
          optimizer: the same for the optimizer state.
          average: the same for the moving average, or None.
        """
        items = {
            "params": ocp.args.StandardRestore(params),
            "optimizer": ocp.args.StandardRestore(optimizer),
            "data": ocp.args.JsonRestore(),
        }
        if average is not None:
            items["average"] = ocp.args.StandardRestore(average)
        found = self._manager.restore(step, args=ocp.args.Composite(**items))
        return Restored(found.params, found.optimizer, found.get("average"), found.data)

    def read_meta(self, step: int) -> dict:
        return self._manager.restore(
            step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
        ).meta

    def read_params(self, step: int, shapes: Any) -> Any:
        """Only the parameters, as a tree like `shapes`, into its shardings if it has some.

        Trainable ones are their moving average where one was kept. `shapes` = None restores what is
        stored.

        Raises:
          InputError: other parameters are stored; lists both sides' difference.
        """
        if shapes is not None:
            check_parameters(self.params_shapes(step), shapes, f"step {step} in {self.directory}")
        params = self._restore_item(step, "params", shapes)
        if not (self.directory / str(step) / "average").is_dir():
            return params
        averaged = parameters.flatten(self._shapes(step, "average"))
        if shapes is not None:
            chosen = {name: name in averaged for name in parameters.flatten(shapes)}
            shapes, _ = parameters.split(shapes, chosen)
        return parameters.merge(params, self._restore_item(step, "average", shapes))

    def _restore_item(self, step: int, item: str, shapes: Any) -> Any:
        args = ocp.args.Composite(**{item: ocp.args.StandardRestore(shapes)})
        return self._manager.restore(step, args=args)[item]

    def close(self) -> None:
        """Waits for a save under way.

        Raises:
          InputError: it could not be written.
        """
        with self._explaining():
            self._manager.wait_until_finished()
        self._manager.close()


def open_for_reading(path: str | Path, step: int | None = None) -> tuple[Checkpoints, int]:
    """Finds the checkpoint meant by a work directory, its checkpoints folder, or one step's folder.

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
    checkpoints = Checkpoints(workdir)
    steps = sorted(checkpoints._manager.all_steps())
    step = step if step is not None else (steps[-1] if steps else None)
    if step not in steps:
        raise InputError(
            f"checkpoint step in {workdir}",
            found=f"step {step}" if step is not None else "no finished checkpoint",
            expected=f"one of {steps}" if steps else "at least one",
            fix="choose a step that exists, or train first",
        )
    return checkpoints, step


def check_same_configuration(stored: dict, current: dict, workdir: str | Path) -> None:
    """Refuses to continue a run under another configuration.

    Raises:
      InputError: lists every differing key as `key: stored -> current`.
    """
    stored, current = BEFORE | _flatten(stored), BEFORE | _flatten(current)
    differing = [
        f"{key}: {stored.get(key, 'absent')} -> {current.get(key, 'absent')}"
        for key in sorted(stored.keys() | current.keys())
        if stored.get(key) != current.get(key) and key not in OPERATIONAL
    ]
    if differing:
        raise InputError(
            f"configuration of the run in {workdir}",
            found="; ".join(differing[:12]) + (" ..." if len(differing) > 12 else ""),
            expected="the configuration this run was started with",
            fix="undo the change, or start a new run with another --workdir",
        )


def check_parameters(stored: dict, wanted: dict, where: str, *, partly: bool = False) -> None:
    """Compares names and shapes; `partly`: some of the wanted ones may be absent.

    Raises:
      InputError: shows the first differences of each kind.
    """
    found, expected = parameters.flatten(stored), parameters.flatten(wanted)
    differences = {
        "not in the model": [name for name in found if name not in expected],
        "not stored": [] if partly else [name for name in expected if name not in found],
        "of another shape": [
            f"{name} {found[name].shape}, not {expected[name].shape}"
            for name in found
            if name in expected and found[name].shape != expected[name].shape
        ],
    }
    told = [f"{len(d)} {kind}: {', '.join(d[:6])}" for kind, d in differences.items() if d]
    if told:
        raise InputError(
            f"parameters of {where}",
            found="; ".join(told),
            expected="those of the configured model",
            fix="use the configuration of that checkpoint; converted ones that lack parameters "
            "are for config.init_from",
        )


def _flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def abstract(tree: Any, shardings: Any) -> Any:
    """ShapeDtypeStructs of a tree, with shardings, as `Checkpoints.restore` wants them."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings,
    )
