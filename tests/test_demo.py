"""The demo's bookkeeping; the demo itself runs in CI as `make demo-mini`."""

from pathlib import Path

import pytest

from launch import demo


def summary(successes: int, episodes: int) -> dict:
    rate = successes / episodes
    return {
        "successes": successes,
        "episodes": episodes,
        "success_rate": rate,
        "low": rate / 2,
        "high": 1.0,
        "tasks": ["pick_up_the_soup"],
    }


def test_the_last_line_is_for_machines(capsys):
    rows = {
        "semanticvla": {"official": summary(19, 20), "jittered": summary(30, 40)},
        "blind": {"official": summary(17, 20), "jittered": summary(8, 40)},
        "untrained": {"official": summary(0, 10)},
        "expert": {"jittered": summary(20, 20)},
    }
    demo.report(rows, seconds=90)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == (
        "success_rate=0.95 low=0.47 high=1.00 episodes=20 task=pick_up_the_soup "
        "jittered=0.75 blind=0.20 blind_official=0.85"
    )
    assert lines[-2] == "took 1.5 minutes"
    assert sum("/" in line for line in lines) == 6, "one line per policy and placement"


def test_every_policy_runs_through_the_same_evaluator():
    table = demo.contestants(demo.FULL, Path("sighted"), Path("blind"))
    flags, placements = table["blind"]
    assert flags[:2] == ("--checkpoint", "blind")
    assert placements == {"official": 20, "jittered": 40} == table["semanticvla"][1]
    assert table["expert"][0] == ("--policy", "expert")


def test_a_failing_stage_stops_the_demo():
    with pytest.raises(SystemExit, match="'broken' failed with exit code 3"):
        demo.run("broken", "-c", "raise SystemExit(3)")
