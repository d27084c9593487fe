"""What can go wrong inside the loop, and what it leaves behind for whoever looks for the cause."""

from __future__ import annotations

import contextlib
import errno
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import distributed


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite; the last checkpoint is from before."""


def check_finite(
    step: int, metrics: Mapping[str, jax.Array], batch: Mapping[str, np.ndarray], workdir: Path
) -> dict[str, float]:
    """Fetches a step's metrics.

    Args:
      step: whose metrics.
      metrics: scalars.
      batch: this process's part of what the step was fed.
      workdir: where a dump goes.

    Raises:
      NonFiniteLoss: names the step, every metric and the dump.
    """
    values = {name: float(value) for name, value in metrics.items()}
    if math.isfinite(values["loss"]):
        return values
    path = _dump(step, values, batch, workdir)
    distributed.all_agree(True)  # so that every process has written its dump before one ends
    raise NonFiniteLoss(
        f"loss is {values['loss']} at step {step} ({values}). Batch and metrics: {path}. "
        "The last checkpoint is from before; lower config.optimizer.learning_rate or check the "
        "dataset, then rerun."
    )


def _dump(step: int, values: dict[str, float], batch: Mapping[str, Any], workdir: Path) -> Path:
    """Writes WORKDIR/non_finite/step_N_process_P.npz: the batch's arrays, and `metrics` as JSON."""
    path = workdir / "non_finite" / f"step_{step}_process_{jax.process_index()}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, metrics=json.dumps(values), **batch)
    return path


@contextlib.contextmanager
def naming_a_full_disk(workdir: Path) -> Iterator[None]:
    """Turns "no space" from any file but a checkpoint's, which explains itself, into an InputError.

    Raises:
      InputError: the disk of `workdir` takes no more.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise InputError(
            f"files in {workdir}",
            found=f"{type(error).__name__}: {error}",
            expected="a disk that takes them",
            fix="make room and rerun: it continues from the last checkpoint, which is whole",
        ) from error
