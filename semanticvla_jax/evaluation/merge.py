"""Puts the results of shards together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.files import write_whole
from semanticvla_jax.evaluation.plan import read_plan
from semanticvla_jax.evaluation.results import read_results, row_key

# What must not differ between two results of one episode.
OUTCOME = ("success", "steps", "actions_digest")


def merge(shards: Sequence[Path], out: Path) -> list[dict[str, Any]]:
    """Writes the union of the shards' rows, plans, videos and traces to `out`.

    Returns:
      Keys of the planned episodes that no shard has finished.

    Raises:
      InputError: the shards are not of one evaluation, two of them disagree on an episode, or
        `out` is there already.
    """
    if out.exists():
        raise InputError(
            f"directory {out}",
            found="something there already",
            expected="a name that is free",
            fix="choose another --out",
        )
    identity, rows, plan = _union(shards)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for shard in shards:
        for folder in ("videos", "traces"):
            if (shard / folder).is_dir():
                shutil.copytree(shard / folder, partial / folder, dirs_exist_ok=True)
    write_whole(partial / "identity.json", json.dumps(identity, indent=1, sort_keys=True))
    write_whole(partial / "plan.jsonl", _jsonl(plan.values()))
    write_whole(partial / "rows.jsonl", _jsonl(rows))
    partial.rename(out)
    finished = {row_key(row) for row in rows if row["status"] == "ok"}
    return [entry for key, entry in plan.items() if key not in finished]


def _union(shards: Sequence[Path]) -> tuple[dict[str, Any], list[dict], dict[tuple, dict]]:
    """(identity, rows, {key: planned episode}) of all shards together."""
    identity, _ = read_results(shards[0])
    rows: list[dict[str, Any]] = []
    plan: dict[tuple, dict] = {}
    finished: dict[tuple, dict] = {}
    for shard in shards:
        other, found = read_results(shard)
        _check_same(identity, other, shards[0], shard)
        plan |= {row_key(entry): entry for entry in read_plan(shard / "plan.jsonl")}
        for row in found:
            key = row_key(row)
            if row["status"] == "ok" and key in finished:
                _check_alike(finished[key], row, shard)
                continue
            if row["status"] == "ok":
                finished[key] = row
            rows.append(row)
    return identity, rows, plan


def _check_same(identity: dict, other: dict, first: Path, shard: Path) -> None:
    names = [n for n in sorted({*identity, *other}) if identity.get(n) != other.get(n)]
    if names:
        told = "; ".join(f"{n}: {identity.get(n)} and {other.get(n)}" for n in names)
        raise InputError(
            f"shards {first} and {shard}",
            found=f"different evaluations ({told})",
            expected="the same policy and protocol",
            fix="merge shards of one evaluation",
        )


def _check_alike(first: dict, second: dict, shard: Path) -> None:
    if any(first.get(name) != second.get(name) for name in OUTCOME):
        raise InputError(
            f"episode {row_key(first)} in {shard}",
            found="another outcome than in a shard before it",
            expected="each episode in one shard, or the same outcome in both",
            fix="find out which is right, and leave the other shard out",
        )


def _jsonl(entries) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)
