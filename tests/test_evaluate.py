from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from semanticvla_jax import evaluate
from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.contestants import Contestant
from semanticvla_jax.libero.suites import find_task
from tests.evaluation.fakes import FailsOnce, ForwardAgent, NanAgent

pytestmark = pytest.mark.sim

TASK = find_task("libero_object", 0)
FLAGS = ["--suite", "libero_object", "--tasks", "0", "--max_steps", "4", "--policy", "expert"]


def run(out, make_agent, *flags, episodes=2, policy="fake"):
    arguments = evaluate.parse_arguments(
        [*FLAGS, "--workers", "0", "--episodes", str(episodes), "--out", str(out), *flags]
    )
    return evaluate.evaluate(arguments, [TASK], Contestant({"policy": policy}, make_agent))


def rows_of(out) -> list[dict]:
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


def test_rows_summary_and_video(tmp_path, capsys):
    summary = run(tmp_path, ForwardAgent, "--video_every", "2")
    rows = rows_of(tmp_path)
    assert [row["placement"] for row in rows] == ["official:0", "official:1"]
    assert all(row["steps"] == 4 and row["success"] is False for row in rows)
    assert [path.name for path in (tmp_path / "videos").iterdir()] == [
        "libero_object_0_official_0.mp4"
    ]
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert summary["identity"]["versions"]["mujoco"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split()[:2] == ["overall", "0/2"]

    run(tmp_path, ForwardAgent, episodes=2)  # nothing left to do
    assert rows_of(tmp_path) == rows


def test_an_error_is_retried_and_never_a_failure(tmp_path):
    summary = run(
        tmp_path, functools.partial(FailsOnce, tmp_path / "memory", "exception"), episodes=1
    )
    assert [row["status"] for row in rows_of(tmp_path)] == ["error", "ok"]
    assert "simulator exploded" in rows_of(tmp_path)[0]["error"]
    assert (summary["episodes"], summary["unfinished"]) == (1, 0)


def test_errors_to_the_end_make_the_command_fail(tmp_path):
    agent = functools.partial(FailsOnce, tmp_path / "memory", "exception")
    with pytest.raises(SystemExit, match="1 episodes ended in errors"):
        run(tmp_path, agent, "--retries", "0", episodes=1)
    assert json.loads((tmp_path / "summary.json").read_text())["episodes"] == 0
    assert run(tmp_path, agent, episodes=1)["episodes"] == 1  # the file remembers: now it works


def test_a_dying_worker_costs_one_attempt(tmp_path):
    agent = functools.partial(FailsOnce, tmp_path / "memory", "exit")
    summary = run(tmp_path, agent, "--workers", "2", episodes=3)
    assert summary["episodes"] == 3
    errors = [row["error"] for row in rows_of(tmp_path) if row["status"] == "error"]
    assert errors == ["WorkerDied: the worker process died (9)"]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_nan_action_ends_the_evaluation_with_its_reason(tmp_path, workers):
    with pytest.raises(InputError, match="normalisation statistics"):
        run(tmp_path, NanAgent, "--workers", workers)
    assert not (tmp_path / "rows.jsonl").exists()


def test_killed_evaluation_continues_and_equals_an_uninterrupted_one(tmp_path):
    flags = [*FLAGS, "--episodes", "6", "--out", str(tmp_path / "killed"), "--workers", "2"]
    command = [sys.executable, "-m", "semanticvla_jax.evaluate", *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows = tmp_path / "killed" / "rows.jsonl"
    while not rows.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with rows.open("a") as file:
        file.write('{"policy": "exp')  # what a kill within a write leaves
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    evaluate.main([*FLAGS, "--episodes", "6", "--out", str(tmp_path / "whole")])

    def outcomes(out):
        rows = sorted(rows_of(out), key=lambda row: row["placement"])
        return [(row["placement"], row["status"], row["success"], row["steps"]) for row in rows]

    assert outcomes(tmp_path / "killed") == outcomes(tmp_path / "whole")
    assert len(outcomes(tmp_path / "killed")) == 6


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--suite", "libero_objects"], "expected one of libero_spatial"),
        (["--suite", "libero_object", "--tasks", "0,77"], "found 77"),
        (["--suite", "libero_object", "--episodes", "51"], "1 to 50"),
        (["--suite", "libero_object"], "no --checkpoint"),
        (["--suite", "libero_object", "--checkpoint", "nowhere"], "checkpoint"),
        (["--suite", "libero_object", "--policy", "expert", "--assets", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_gives_one_message_and_exit_code_2(tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as exit_info:
        evaluate.main([*flags, "--out", str(tmp_path / "out")])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert message in error and "Fix:" in error
    assert error.count("\n") == 1


def test_another_policy_does_not_mix_into_a_directory(tmp_path):
    run(tmp_path, ForwardAgent, episodes=1)
    with pytest.raises(InputError, match="policy: fake -> other"):
        run(tmp_path, ForwardAgent, episodes=1, policy="other")


def test_workers_do_not_outlive_a_killed_evaluation(tmp_path):
    flags = [*FLAGS, "--episodes", "50", "--out", str(tmp_path / "out"), "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "semanticvla_jax.evaluate", *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "out" / "rows.jsonl").exists() and process.poll() is None:
        time.sleep(0.02)
    children = children_of(process.pid)
    process.kill()
    process.wait()
    assert children
    deadline = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{child}") for child in children):
        assert time.monotonic() < deadline, "worker processes still run"
        time.sleep(0.1)


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]
