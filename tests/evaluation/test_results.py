from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.results import (
    ResultLog,
    read_results,
    summarize,
    summary_table,
    wilson_interval,
)
from semanticvla_jax.libero import variation

IDENTITY = {"policy": "checkpoint", "checkpoint_step": 100, "placement": "official"}


def row(index: int, *, success: bool = True, task: int = 0, status: str = "ok") -> dict:
    key = {
        "policy": "checkpoint",
        "suite": "libero_object",
        "task": task,
        "placement": f"official:{index}",
        "seed": 0,
    }
    outcome = {"success": success, "steps": 10, "latency_ms": [1.0, 3.0]}
    return {
        **key,
        "task_name": f"task_{task}",
        "status": status,
        **(outcome if status == "ok" else {"error": "RuntimeError: gone"}),
    }


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (20, 20, 0.8389, 1.0),  # n / (n + z^2) = 20 / 23.84
        (0, 20, 0.0, 0.1611),
        (10, 20, 0.2993, 0.7007),
        (95, 100, 0.8882, 0.9785),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_interval_has_textbook_values(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_rate_and_mirrors(counts):
    successes, trials = counts
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_rows_survive_and_are_not_doubled(tmp_path):
    ResultLog(tmp_path, IDENTITY).append(row(0))
    log = ResultLog(tmp_path, IDENTITY)
    assert log.rows == [row(0)]
    assert log.is_finished(**row(0)) and not log.is_finished(**row(1))
    with pytest.raises(ValueError, match="has a result already"):
        log.append(row(0))


def test_an_error_row_is_not_a_result(tmp_path):
    log = ResultLog(tmp_path, IDENTITY)
    log.append(row(0, status="error"))
    assert not log.is_finished(**row(0))
    log.append(row(0))
    assert log.is_finished(**row(0))


def test_half_written_last_row_is_dropped_and_said(tmp_path, caplog):
    log = ResultLog(tmp_path, IDENTITY)
    log.append(row(0))
    path, whole = log.path, log.path.read_bytes()
    del log
    path.write_bytes(whole + whole[:25])
    assert read_results(tmp_path) == (IDENTITY, [row(0)])
    with caplog.at_level(logging.WARNING):
        assert ResultLog(tmp_path, IDENTITY).rows == [row(0)]
    assert "half-written row" in caplog.text
    assert path.read_bytes() == whole


def test_one_writer_at_a_time(tmp_path):
    log = ResultLog(tmp_path, IDENTITY)
    with pytest.raises(InputError, match="another evaluation that is writing"):
        ResultLog(tmp_path, IDENTITY)
    assert read_results(tmp_path) == (IDENTITY, [])  # readers are welcome
    del log
    ResultLog(tmp_path, IDENTITY)


def test_a_damaged_row_in_the_middle_is_refused(tmp_path):
    path = ResultLog(tmp_path, IDENTITY).path
    path.write_text('{"status": \n{}\n')
    with pytest.raises(InputError, match="line 1 is no result row"):
        ResultLog(tmp_path, IDENTITY)


def test_results_of_another_checkpoint_are_refused(tmp_path):
    ResultLog(tmp_path, IDENTITY)
    with pytest.raises(InputError, match="checkpoint_step: 100 -> 200"):
        ResultLog(tmp_path, {**IDENTITY, "checkpoint_step": 200})


def test_a_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another --out"):
        ResultLog(tmp_path / "file", IDENTITY)


def test_errors_are_not_failures_in_the_summary():
    rows = [row(0), row(1, success=False), row(2, status="error"), row(0, task=1)]
    rows += [row(3, status="error"), row(3)]  # an error, then a success
    summary = summarize(rows, IDENTITY)
    assert (summary["successes"], summary["episodes"], summary["unfinished"]) == (3, 4, 1)
    assert [task["episodes"] for task in summary["per_task"]] == [3, 1]
    assert summary["per_task"][0]["success_rate"] == pytest.approx(2 / 3)
    assert summary["latency_ms"] == {"p50": 2.0, "p99": 3.0, "queries": 8}
    assert summary["tasks"] == ["task_0", "task_1"]
    assert "overall" in summary_table(summary)


def test_what_a_blind_policy_reaches_stands_beside_a_task(monkeypatch):
    def find(suite, task):
        return "blind replay 8/10" if (suite, task) == (row(0)["suite"], 1) else None

    monkeypatch.setattr(variation, "find", find)
    summary = summarize([row(0), row(0, task=1)], IDENTITY)
    assert [task["official_states"] for task in summary["per_task"]] == [None, "blind replay 8/10"]
    without, beside = summary_table(summary).splitlines()[1:3]
    assert not without.endswith(" ") and beside.endswith("  blind replay 8/10")


def test_a_summary_without_results_says_so():
    summary = summarize([row(0, status="error")], IDENTITY)
    assert summary["success_rate"] is None
    assert "0/0" in summary_table(summary)
