"""Shards: every planned episode once, whoever ran it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semanticvla_jax import merge_results
from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.engine import run_jobs
from semanticvla_jax.evaluation.local import ThisProcess
from semanticvla_jax.evaluation.merge import merge
from semanticvla_jax.evaluation.plan import job_key, parse_shard, shard_of, write_plan
from semanticvla_jax.evaluation.results import ResultLog, read_results, summarize
from tests.evaluation.fakes import jobs, setup

IDENTITY = {"policy": "fake", "placement": "official"}
TODO = jobs(tasks=2, episodes=3)


def run_shard(directory, todo, identity=IDENTITY):
    log = ResultLog(directory, identity)
    write_plan(directory / "plan.jsonl", "fake", TODO)
    for job, result in run_jobs(ThisProcess(setup()), todo, retries=0):
        log.append({**job_key("fake", job), "task_name": job.task.name, **result})
    return directory


def outcomes(directory) -> dict:
    summary = summarize(read_results(directory)[1], {})
    return {name: summary[name] for name in ("successes", "episodes", "per_task", "mean_steps")}


@given(st.integers(0, 60), st.integers(1, 9))
def test_shards_cover_the_plan_once_and_evenly(total, count):
    parts = [shard_of(range(total), index, count) for index in range(count)]
    assert sum(parts, []) == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/2", "0/0"])
def test_bad_shards(text):
    with pytest.raises(InputError, match="--shard"):
        parse_shard(text)


def test_merged_shards_are_the_whole_run(tmp_path, capsys):
    whole = run_shard(tmp_path / "whole", TODO)
    parts = [run_shard(tmp_path / f"{i}", shard_of(TODO, i, 4)) for i in range(4)]
    (parts[0] / "videos").mkdir()
    (parts[0] / "videos" / "a.mp4").write_text("film")
    merge_results.main([*map(str, parts), "--out", str(tmp_path / "all")])
    assert outcomes(tmp_path / "all") == outcomes(whole)
    assert (tmp_path / "all" / "videos" / "a.mp4").read_text() == "film"
    summary = json.loads((tmp_path / "all" / "summary.json").read_text())
    assert summary["episodes"] == 6 and "overall" in capsys.readouterr().out


def test_missing_episodes_are_named(tmp_path):
    part = run_shard(tmp_path / "part", TODO[:4])
    with pytest.raises(SystemExit, match="2 planned episodes are missing: libero_object 1 offi"):
        merge_results.main([str(part), "--out", str(tmp_path / "all")])
    assert outcomes(tmp_path / "all")["episodes"] == 4


def test_an_episode_that_two_shards_ran_counts_once(tmp_path):
    parts = [run_shard(tmp_path / "a", TODO[:4]), run_shard(tmp_path / "b", TODO[3:])]
    assert merge(parts, tmp_path / "all") == []
    assert outcomes(tmp_path / "all")["episodes"] == 6


def test_two_outcomes_of_one_episode_are_refused(tmp_path):
    parts = [run_shard(tmp_path / "a", TODO), run_shard(tmp_path / "b", TODO)]
    rows = parts[1] / "rows.jsonl"
    rows.write_text(rows.read_text().replace('"steps": ', '"steps": 1', 1))
    with pytest.raises(InputError, match="another outcome"):
        merge(parts, tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_other_evaluations_and_taken_names_are_refused(tmp_path):
    parts = [
        run_shard(tmp_path / "a", TODO[:1]),
        run_shard(tmp_path / "b", TODO[1:2], {**IDENTITY, "placement": "jittered"}),
    ]
    with pytest.raises(InputError, match="placement: official and jittered"):
        merge(parts, tmp_path / "all")
    with pytest.raises(InputError, match="name that is free"):
        merge(parts[:1], tmp_path / "b")
    with pytest.raises(InputError, match="no identity.json"):
        merge([tmp_path], tmp_path / "all")
