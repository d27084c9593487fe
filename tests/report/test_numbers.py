"""What the report counts and compares."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.report import numbers as module
from semanticvla_jax.evaluation.report.comparison import compare, differing_settings
from semanticvla_jax.evaluation.report.numbers import numbers
from semanticvla_jax.evaluation.report.official_states import blind_score
from semanticvla_jax.evaluation.report.rerun import rerun_command
from semanticvla_jax.evaluation.report.runs import placement_list, read_runs
from semanticvla_jax.evaluation.report.speed import speed
from semanticvla_jax.evaluation.report.text import text
from tests.report.writer import IDENTITY, error, key, result, write_results


def run(path, rows, identity=IDENTITY):
    return read_runs([write_results(path, rows, identity)])[0]


def test_errors_are_counted_apart_from_failures(tmp_path):
    found = run(tmp_path, [result(0, True), result(1, False), error(2), error(0, attempt=1)])
    entry = numbers([found])["runs"][0]
    assert (entry["successes"], entry["episodes"], entry["unfinished"]) == (1, 2, 1)
    assert [failure["placement"] for failure in entry["failures"]] == ["official:1"]
    assert [e["unresolved"] for e in entry["errors"]] == [True, False]
    printed = text(numbers([found]))
    assert "1/2   0.50" in printed and "1 episodes without a result" in printed


def test_the_same_episodes_are_paired(tmp_path):
    first = run(tmp_path / "first", [result(i, i < 4) for i in range(10)])
    second = run(tmp_path / "second", [result(i, i > 2) for i in range(9)] + [error(9)])
    found = compare(first, second)
    assert found["paired"] and found["left_out"] == [1, 0]
    overall = found["overall"]
    counts = [overall[name] for name in ("both", "first_only", "second_only", "neither")]
    assert counts == [1, 3, 5, 0]
    assert overall["test"] == "McNemar exact" and overall["change"] == pytest.approx(2 / 9)
    assert overall["p"] == pytest.approx(2 * (1 + 8 + 28 + 56) / 256)


def test_other_seeds_are_not_paired_and_only_common_tasks_compared(tmp_path):
    first = run(
        tmp_path / "first", [result(i, i < 3) for i in range(4)] + [result(0, True, task=1)]
    )
    second = run(tmp_path / "second", [result(i, i < 1, seed=7) for i in range(4)])
    found = compare(first, second)
    assert not found["paired"] and found["left_out"] == [1, 0]
    assert found["overall"]["test"] == "Fisher exact"
    assert found["overall"]["p"] == pytest.approx(34 / 70)
    assert [task["task"] for task in found["tasks"]] == [0]


def test_a_perturbed_run_is_paired_with_a_plain_one(tmp_path):
    perturbed = [{**result(i, False), "placement": f"official:{i}|light=1:0"} for i in range(2)]
    identity = {**IDENTITY, "perturbation": {"light": 1.0}}
    first = run(tmp_path / "plain", [result(i, True) for i in range(2)])
    second = run(tmp_path / "light", perturbed, identity)
    assert compare(first, second)["overall"]["first_only"] == 2
    assert differing_settings([first, second]) == {"perturbation.light": [None, 1.0]}
    assert placement_list(second.finished) == "official perturbed 0, 1"


def test_runs_without_results_or_common_tasks_compare_to_nothing(tmp_path):
    runs = [
        run(tmp_path / "empty", []),
        run(tmp_path / "one", [result(0, True)]),
        run(tmp_path / "other", [result(0, True, task=1)]),
    ]
    assert [c["overall"] for c in numbers(runs)["comparisons"]] == [None, None]
    assert compare(runs[1], runs[2])["overall"] is None
    assert "no task in common" in text(numbers(runs))


def test_times(tmp_path):
    slow = {"latency_ms": [20.0, 40.0], "seconds": 8.0, "steps": 28}
    found = speed(run(tmp_path, [result(0, True), result(1, True, **slow), error(2)]))
    assert found["queries"] == 4 and found["latency_ms"]["p50"] == 25
    assert found["episodes_per_minute"] == 10  # two in twelve seconds
    assert found["steps_per_second"] == 4 and found["batch"] == 2
    assert found["queries_per_episode"] == 2 and found["tokens"] is None
    pruned = speed(run(tmp_path / "pruned", [result(0, True, tokens=[12, 6])]))
    assert pruned["tokens"] == 9


def test_rows_of_older_versions(tmp_path):
    row = {**key(0), "status": "ok", "success": True, "steps": 3}
    del row["task_name"]
    entry = numbers([run(tmp_path, [row])])
    assert entry["suites"][0]["tasks"][0]["name"] == "task 0"
    assert entry["runs"][0]["speed"]["latency_ms"] is None
    assert "0 queries" in text(entry)


def test_official_states_stand_beside_results(tmp_path, monkeypatch):
    variation = {"goal_cm": 6.1, "source": 3, "replays": 10, "official": 9, "jittered": 2}
    monkeypatch.setattr(module, "variation_of", lambda suite, task: variation)
    found = numbers([run(tmp_path, [result(0, True)])])
    assert found["suites"][0]["tasks"][0]["blind"] == {"official": [9, 10]}
    assert "vary by 6.1 cm" in text(found) and "blind replay, official: 9/10" in text(found)
    assert blind_score(variation, "jittered") == (2, 10)
    assert blind_score(variation, "official perturbed") is None
    assert blind_score({**variation, "source": None}, "official") is None
    assert blind_score(None, "official") is None


@pytest.mark.parametrize("index", [0, 7])
def test_the_command_runs_that_very_episode(tmp_path, index):
    from semanticvla_jax.evaluate import parse_arguments
    from semanticvla_jax.evaluation.plan import job_key, parse_shard, plan_jobs, shard_of
    from semanticvla_jax.libero.perturbations import parse_perturbation
    from semanticvla_jax.libero.placement import JitteredOfficial

    (tmp_path / "work dir" / "checkpoints").mkdir(parents=True)
    row = result(index, False, seed=5)
    identity = {
        **IDENTITY,
        "policy": "checkpoint+vla_pruner:drop=0.75+sp_vla",
        "placement": "jittered",
        "sentence": "it's",
        "perturbation": {"light": 1.0},
    }
    found = run(tmp_path / "work dir" / "results", [row], identity)
    command = shlex.split(rerun_command(found, found.finished[0]))
    assert command[:3] == ["python", "-m", "semanticvla_jax.evaluate"]
    arguments = parse_arguments(command[3:])
    assert arguments.checkpoint == str(tmp_path / "work dir") and arguments.sentence == "it's"
    assert (arguments.checkpoint_step, arguments.execute, arguments.max_steps) == (100, 2, 30)
    assert (arguments.policy, arguments.accelerate) == ("checkpoint", "vla_pruner:drop=0.75,sp_vla")
    planned = plan_jobs(
        [SimpleNamespace(suite=arguments.suite, index=int(arguments.tasks))],
        arguments.episodes,
        placement=arguments.placement,
        seed=arguments.seed,
        directory=tmp_path,
        perturbation=parse_perturbation(arguments.perturb),
        video_every=arguments.video_every,
        trace_every=arguments.trace_every,
    )
    (job,) = shard_of(planned, *parse_shard(arguments.shard))
    assert job.video and job.trace
    assert job_key("checkpoint", job)["placement"] == (
        JitteredOfficial(index, 5).key + "|light=1:5"
    )


def test_commands_name_what_is_not_known(tmp_path):
    found = run(tmp_path, [result(0, False), {**result(1, False), "placement": "sampled"}])
    commands = [rerun_command(found, row) for row in found.finished]
    assert "--checkpoint CHECKPOINT" in commands[0] and commands[1] is None
    expert = run(tmp_path / "expert", [result(0, False)], {"policy": "expert"})
    assert "--policy expert --suite" in rerun_command(expert, expert.finished[0])


def test_names_are_as_short_as_they_can_be(tmp_path):
    paths = [tmp_path / "a" / "official", tmp_path / "b" / "official"]
    for path in paths:
        write_results(path, [])
    assert [found.name for found in read_runs(paths)] == ["a/official", "b/official"]
    assert [found.name for found in read_runs(paths[:1])] == ["official"]


def test_no_results_are_refused(tmp_path):
    with pytest.raises(InputError, match="identity.json"):
        read_runs([tmp_path])
    write_results(tmp_path, [{**result(0, True), "success": None}])
    with pytest.raises(InputError, match="without success"):
        read_runs([tmp_path])
    with pytest.raises(InputError, match="each once"):
        read_runs([tmp_path, tmp_path / "."])


def test_files_outside_of_the_results_are_not_taken(tmp_path):
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    row = result(0, True, video="../secret.mp4")
    assert run(tmp_path / "results", [row]).video(row) is None
