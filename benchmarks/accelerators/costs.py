"""What the calls of a row cost: FLOPs of the programs they took, latency on traced episodes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from benchmarks.accelerators import rollouts
from benchmarks.accelerators.contestants import NONE, Contestant, methods_of, take_turns
from benchmarks.accelerators.table import Row
from semanticvla_jax.accelerate.load import load_accelerated
from semanticvla_jax.accelerate.replay import Frame, read_frames
from semanticvla_jax.data import normalization
from semanticvla_jax.evaluation.files import write_whole
from semanticvla_jax.evaluation.report.runs import Run
from semanticvla_jax.policy import load_policy
from semanticvla_jax.training import checkpoints


def rows(
    arguments: argparse.Namespace, label: str, checkpoint: str, methods: Sequence[str]
) -> list[Row]:
    """The table's rows of one policy, without methods first; none where that was not run yet."""
    runs = {
        method: found
        for method in (NONE, *methods)
        if (found := rollouts.read(arguments, label, method)) is not None
    }
    traces = rollouts.traces([runs.get(NONE)])
    if not traces:
        return []
    policy = _any_normalisation(checkpoint)
    episodes = [read_frames(path, policy) for path in traces]
    contestants = {
        method: Contestant.of(
            method,
            load_accelerated(policy, methods_of(method), checkpoint, None, arguments.typical),
        )
        for method in runs
    }
    latencies = _latencies(arguments, label, list(contestants.values()), episodes, runs[NONE])
    frame = episodes[0][0]
    whole = contestants[NONE].visual_tokens(frame)
    return [
        Row(
            policy=label,
            method=method,
            run=runs[method],
            tokens=rollouts.tokens(runs[method]) or contestant.visual_tokens(frame),
            whole=whole,
            flops=mean_flops(contestant, runs[method], frame),
            latency=latencies[method],
        )
        for method, contestant in contestants.items()
    ]


def mean_flops(contestant: Contestant, run: Run, frame: Frame) -> float:
    """Per call, over the programs that the run's calls took."""
    taken = rollouts.slots(run)
    if not taken:
        taken = {contestant.program.choices(contestant.visual_tokens(frame))[0]: 1}
    total = sum(count * contestant.flops(frame, slots) for slots, count in taken.items())
    return total / sum(taken.values())


def _latencies(
    arguments: argparse.Namespace,
    label: str,
    contestants: Sequence[Contestant],
    episodes: Sequence[Sequence[Frame]],
    plain: Run,
) -> dict[str, float]:
    """Mean seconds per query, as measured before if nothing has changed since."""
    path = arguments.out / label / f"latency_{arguments.placement}.json"
    what = {"identity": plain.identity, "frames": [len(frames) for frames in episodes]}
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    wanted = {contestant.name for contestant in contestants}
    if not arguments.remeasure and known.get("of") == what and wanted <= known["seconds"].keys():
        return known["seconds"]
    print(f"\n=== {label}, latency of {len(contestants)} methods", flush=True)
    seconds = take_turns(contestants, episodes, arguments.rounds)
    write_whole(path, json.dumps({"of": what, "seconds": seconds}, indent=1) + "\n")
    return seconds


def _any_normalisation(checkpoint: str) -> Any:
    """The policy; traces hold normalised numbers, so that it does not matter which it has."""
    opened, step = checkpoints.open_for_reading(checkpoint, None)
    names = list(normalization.from_json(opened.read_meta(step)["statistics"]))
    opened.close()
    return load_policy(checkpoint, step=step, dataset=names[0])
