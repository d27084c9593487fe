"""Whether two runs came to the same end, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from semanticvla_jax.training.metrics import read_metrics


def assert_same_run(first: Path, second: Path, step: int) -> None:
    """Parameters, optimizer, averages and data position after `step`, and all metrics up to it."""
    assert rows(first, step) == rows(second, step)
    ours, theirs = (stored(workdir, step) for workdir in (first, second))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype, name
        assert value.tobytes() == theirs[name].tobytes(), f"{name} differs"
    assert position(first, step) == position(second, step)


def rows(workdir: Path, step: int) -> list[dict]:
    """Metrics up to a step, without the speed."""
    return [
        {name: value for name, value in row.items() if name != "samples_per_second"}
        for row in read_metrics(workdir / "metrics.jsonl")
        if row["step"] <= step
    ]


def stored(workdir: Path, step: int) -> dict[str, np.ndarray]:
    """Every array of a checkpoint, by item and path."""
    arrays = {}
    for item in ("params", "optimizer", "average"):
        folder = workdir / "checkpoints" / str(step) / item
        if folder.is_dir():
            tree = ocp.StandardCheckpointHandler().restore(folder)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
                arrays[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
    assert arrays, f"no checkpoint of step {step} in {workdir}"
    return arrays


def position(workdir: Path, step: int) -> dict:
    """Of the data."""
    return json.loads((workdir / "checkpoints" / str(step) / "data" / "metadata").read_text())
