"""The command that runs one episode again."""

from __future__ import annotations

import shlex
from pathlib import Path

from semanticvla_jax.evaluation.report.runs import Row, Run, placement_index

UNKNOWN_CHECKPOINT = "CHECKPOINT"
# Entries of the identity that are flags of semanticvla_jax.evaluate of the same name.
_FLAGS = ("execute", "dataset", "sentence", "rendering", "max_steps")


def rerun_command(run: Run, row: Row) -> str | None:
    """Runs the row's episode alone, filmed and traced; None where its placement has no number.

    Of the episodes 0 to n, planned in n + 1 shards, the last shard is episode n.
    The checkpoint is the run's work directory if the results lie in it, else UNKNOWN_CHECKPOINT.
    """
    index = placement_index(row)
    if index is None:
        return None
    command = ["python", "-m", "semanticvla_jax.evaluate", *_policy(run)]
    command += ["--suite", row["suite"], "--tasks", row["task"]]
    command += ["--placement", run.identity.get("placement", "official"), "--seed", row["seed"]]
    for name in _FLAGS:
        if run.identity.get(name) is not None:
            command += [f"--{name}", run.identity[name]]
    if strengths := run.identity.get("perturbation"):
        command += ["--perturb", ",".join(f"{kind}={value}" for kind, value in strengths.items())]
    command += ["--episodes", index + 1, "--shard", f"{index}/{index + 1}", "--workers", 0]
    command += ["--video_every", max(1, index), "--trace_every", max(1, index), "--out", "rerun"]
    return shlex.join(map(str, command))


def _policy(run: Run) -> list:
    label = run.identity.get("policy", "checkpoint")
    if label == "expert":
        return ["--policy", "expert"]
    label, _, accelerators = label.partition("+")
    chosen = [] if label == "checkpoint" else ["--policy", label]
    if accelerators:
        chosen += ["--accelerate", accelerators.replace("+", ",")]
    step = run.identity.get("checkpoint_step")
    steps = [] if step is None else ["--checkpoint_step", step]
    return [*chosen, "--checkpoint", _checkpoint(run.directory), *steps]


def _checkpoint(results: Path) -> str:
    for directory in results.parents:
        if (directory / "checkpoints").is_dir():
            return str(directory)
    return UNKNOWN_CHECKPOINT
