"""Reading checkpoints; see `checkpoints.py` for their layout and for writing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import orbax.checkpoint as ocp

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import checksums, distributed, parameters

Value = TypeVar("Value")


class DamagedCheckpoint(InputError):
    """A checkpoint that cannot be read, or is not what was saved."""


class Restored(NamedTuple):
    """What training continues from; `average` is None where none is kept."""

    params: Any
    optimizer: Any
    average: Any
    data: dict


class StoredCheckpoints:
    """The checkpoints in WORKDIR/checkpoints, which is left as it is."""

    def __init__(self, workdir: str | Path):
        self.directory = Path(workdir).resolve() / "checkpoints"

    def steps(self) -> list[int]:
        """Finished ones, the newest first."""
        return sorted(ocp.utils.checkpoint_steps(self.directory), reverse=True)

    def close(self) -> None:
        """Nothing is held open."""

    def read_meta(self, step: int) -> dict:
        """What was given as `meta`, and `checksums`.

        Raises:
          DamagedCheckpoint: it cannot be read or was changed.
        """

        def read() -> dict:
            meta = self._read_json(step, "meta")
            plain = {name: value for name, value in meta.items() if name != "checksums"}
            _compare({"meta": plain}, meta.get("checksums", {}), checksums.of_json)
            return meta

        return self._in_all_processes(step, read)

    def restore(self, step: int, *, params: Any, optimizer: Any, average: Any) -> Restored:
        """Restores straight into the shardings of the abstract trees.

        All processes call it, and it fails in all of them or in none.

        Args:
          step: which checkpoint.
          params: tree of ShapeDtypeStruct with shardings.
          optimizer: the same for the optimizer state.
          average: the same for the moving average, or None.

        Raises:
          DamagedCheckpoint: something cannot be read or was changed.
          InputError: other parameters are stored.
        """
        said = self.read_meta(step).get("checksums", {})
        wanted = {"params": params, "optimizer": optimizer, "average": average}
        wanted = {item: tree for item, tree in wanted.items() if tree is not None}

        def read() -> tuple[dict, dict]:
            check_parameters(self.params_shapes(step), params, f"step {step} in {self.directory}")
            data = self._read_json(step, "data")
            _compare({"data": data}, said, checksums.of_json)
            return {item: self._read_arrays(step, item, wanted[item]) for item in wanted}, data

        found, data = self._in_all_processes(step, read)
        # The sum over all processes' parts, so that they need not agree once more.
        with self._noticing_damage(step):
            _compare(found, said, checksums.of_arrays)
        return Restored(found["params"], found["optimizer"], found.get("average"), data)

    def params_shapes(self, step: int) -> dict:
        """Nested dict of jax.ShapeDtypeStruct of the stored parameters."""
        return self._shapes(step, "params")

    def read_params(self, step: int, shapes: Any) -> Any:
        """Only the parameters, as a tree like `shapes`, into its shardings if it has some.

        Trainable ones are their moving average where one was kept. `shapes` = None restores what is
        stored.

        Raises:
          InputError: other parameters are stored; lists both sides' difference.
        """
        if shapes is not None:
            check_parameters(self.params_shapes(step), shapes, f"step {step} in {self.directory}")
        params = self._read_arrays(step, "params", shapes)
        if not (self.directory / str(step) / "average").is_dir():
            return params
        averaged = parameters.flatten(self._shapes(step, "average"))
        if shapes is not None:
            chosen = {name: name in averaged for name in parameters.flatten(shapes)}
            shapes, _ = parameters.split(shapes, chosen)
        return parameters.merge(params, self._read_arrays(step, "average", shapes))

    def _shapes(self, step: int, item: str) -> dict:
        with ocp.StandardCheckpointer() as checkpointer:
            stored = checkpointer.metadata(self.directory / str(step) / item).item_metadata
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), stored.tree)

    def _read_arrays(self, step: int, item: str, shapes: Any) -> Any:
        # Not by ocp.CheckpointManager: the processes wait for each other in there, forever if one
        # of them finds its part damaged.
        return ocp.StandardCheckpointHandler().restore(
            self.directory / str(step) / item, args=ocp.args.StandardRestore(shapes)
        )

    def _read_json(self, step: int, item: str) -> dict:
        return json.loads((self.directory / str(step) / item / "metadata").read_text())

    def _in_all_processes(self, step: int, read: Callable[[], Value]) -> Value:
        """What `read` returns, once every process has it; raises in all of them or in none.

        `read` must not wait for other processes.
        """
        found = error = None
        try:
            with self._noticing_damage(step):
                found = read()
        except InputError as caught:
            error = caught
        if not distributed.all_agree(error is None):
            raise error or self._damaged(step, "a part that another process could not read")
        return found

    @contextlib.contextmanager
    def _noticing_damage(self, step: int) -> Iterator[None]:
        """Turns what reading raises, which for damaged files may be anything, into one error."""
        try:
            yield
        except (InputError, MemoryError, jax.errors.JaxRuntimeError):
            raise  # not the files' fault
        except Exception as error:
            first_line = str(error).partition("\n")[0][:300]
            raise self._damaged(step, f"{type(error).__name__}: {first_line}") from error

    def _damaged(self, step: int, found: str) -> DamagedCheckpoint:
        return DamagedCheckpoint(
            f"checkpoint {self.directory / str(step)}",
            found=found,
            expected="what was saved",
            fix="use another step",
        )


def _compare(found: Mapping[str, Any], said: Mapping[str, int], checksum) -> None:
    """Checks each item; those of checkpoints written before there were checksums pass."""
    for item, value in found.items():
        if item in said and int(checksum(value)) != said[item]:
            raise ValueError(f"{item} is not what was saved (its checksum is another)")


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
