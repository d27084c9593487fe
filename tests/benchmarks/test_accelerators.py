"""The accelerators' table on results made by hand."""

from __future__ import annotations

import pytest

from benchmarks.accelerators import rollouts, table
from benchmarks.accelerators.__main__ import parse, read_policies
from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.report.runs import read_runs
from tests.report.writer import result, write_results


def run(directory, successes: int, **changes):
    """Twenty episodes of 20 steps and 2 calls each, the last `successes` of which succeed."""
    rows = [result(i, i >= 20 - successes, **changes) for i in range(20)]
    return read_runs([write_results(directory, rows)])[0]


def row(found, method: str, latency: float = 0.01, **changes) -> table.Row:
    numbers = {"tokens": 24.0, "whole": 24.0, "flops": 1e9, "latency": latency}
    return table.Row("semanticvla", method, found, **{**numbers, **changes})


def test_what_the_robot_pays_for_a_step(tmp_path):
    plain = row(run(tmp_path / "none", 18), "none")
    skipping = run(tmp_path / "skip", 18, latency_ms=[10.0], skipped_ms=[1.0, 1.0])
    quick = row(skipping, "sp_vla_schedule")
    assert plain.seconds_per_step == pytest.approx(0.01 * 2 / 20)
    assert quick.seconds_per_step == pytest.approx((0.01 + 0.002) / 20)
    assert quick.speed_up(plain) == pytest.approx(0.02 / 0.012)
    assert rollouts.calls(skipping) == 1 and rollouts.tokens(skipping) is None


def test_verdicts_follow_from_the_numbers(tmp_path):
    plain = row(run(tmp_path / "none", 18), "none")
    pruned = {"tokens": [12, 6], "slots": [[24, 12], [24, 6]]}
    rows = [
        plain,
        row(run(tmp_path / "good", 17, **pruned), "good", latency=0.005, tokens=9.0, flops=5e8),
        row(run(tmp_path / "slow", 18), "slow", latency=0.0101),
        row(run(tmp_path / "bad", 1), "bad", latency=0.005),
        row(run(tmp_path / "worst", 0), "worst", latency=0.02),
    ]
    found = {judged["method"]: judged for judged in table.judged(rows)}
    assert {method: judged["verdict"] for method, judged in found.items()} == {
        "good": "helps",
        "slow": "does not help",
        "bad": "buys speed with success",
        "worst": "does not help, and costs success",
    }
    good = found["good"]
    assert (good["speed_up"], good["tokens"], good["flops"]) == (2.0, 0.375, 0.5)
    assert good["change"] == -0.05 and good["low"] < -0.05 < good["high"] and good["p"] > 0.5
    told = table.sentence(good)
    assert "38 % of the tokens, 50 % of the FLOPs" in told and "-5 points" in told
    assert rollouts.slots(rows[1].run) == {(24, 12): 20, (24, 6): 20}
    printed = table.printed(rows, ["libero_object"])
    assert "18/20 (0.70 to 0.97)" in printed and "9.0 of 24" in printed


def test_results_have_folders_of_their_own(tmp_path):
    arguments = parse(["--out", str(tmp_path), "--placement", "jittered"])
    folder = rollouts.folder(arguments, "oft", "vla_pruner:drop=0.75+sp_vla_schedule")
    assert folder == tmp_path / "oft" / "vla_pruner_drop0.75+sp_vla_schedule_jittered"
    assert rollouts.read(arguments, "oft", "none") is None


def test_policies_have_names():
    assert read_policies("a=runs/a,b=runs/b") == {"a": "runs/a", "b": "runs/b"}
    for wrong in ("", "runs/a", "a="):
        with pytest.raises(InputError, match="LABEL=DIR"):
            read_policies(wrong)
