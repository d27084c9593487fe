"""kill -9 of a worker, the policy process and the whole run, with LIBERO and a real policy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from semanticvla_jax.evaluation.batching import Batcher
from semanticvla_jax.evaluation.contestants import checkpoint_policy
from semanticvla_jax.evaluation.engine import run_jobs
from semanticvla_jax.evaluation.local import LocalPool
from semanticvla_jax.evaluation.results import read_results
from semanticvla_jax.evaluation.runner import Job, Setup
from semanticvla_jax.evaluation.scenes import LiberoScenes
from semanticvla_jax.libero.suites import find_task

pytestmark = [pytest.mark.sim, pytest.mark.slow]

EPISODES, MAX_STEPS = 4, 24


def command(checkpoint, out, *flags: str) -> list[str]:
    return [
        *(sys.executable, "-m", "semanticvla_jax.evaluate", "--checkpoint", str(checkpoint)),
        *("--suite", "libero_object,libero_goal", "--tasks", "0", "--episodes", str(EPISODES)),
        *("--max_steps", str(MAX_STEPS), "--assets", "generated", "--out", str(out), *flags),
    ]


def table(rows) -> dict[tuple, tuple]:
    """What happened in each finished episode."""
    return {
        (row["suite"], row["placement"]): (row["success"], row["steps"], row["actions_digest"])
        for row in rows
        if row["status"] == "ok"
    }


@pytest.fixture(scope="module")
def undisturbed(finished_run, tmp_path_factory) -> dict:
    """In one process, one after the other."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    subprocess.run(command(finished_run, out, "--workers", "0"), check=True)
    found = table(read_results(out)[1])
    assert len(found) == 2 * EPISODES and len(set(found.values())) == 2 * EPISODES
    return found


def test_worker_and_policy_are_killed(finished_run, undisturbed):
    from semanticvla_jax.libero.boot import boot
    from semanticvla_jax.libero.placement import Official
    from semanticvla_jax.libero.rendering import FAST

    contestant = checkpoint_policy(finished_run)
    scenes = LiberoScenes(boot("generated"), FAST)
    setup = Setup(scenes, contestant.make_agent, contestant.make_policy, MAX_STEPS)
    todo = [
        Job(find_task(suite, 0), Official(index))
        for suite in ("libero_object", "libero_goal")
        for index in range(EPISODES)
    ]
    pool = LocalPool(setup, 2, Batcher(0.01), timeout=300)
    results = run_jobs(pool, todo, retries=2)
    seen = [next(results)]
    os.kill(pool.pids()["policy"], signal.SIGKILL)
    seen.append(next(results))
    os.kill(pool.pids()["worker 1"], signal.SIGKILL)
    seen += results
    rows = [
        {"suite": job.task.suite, "placement": job.placement.key, **result} for job, result in seen
    ]
    assert table(rows) == undisturbed
    assert [row["error_type"] for row in rows if row["status"] == "error"] == ["WorkerDied"]


def test_the_whole_run_is_killed_and_continued(finished_run, undisturbed, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(command(finished_run, out, "--workers", "2"))
    while not (out / "rows.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(read_results(out)[1])
    assert before < 2 * EPISODES
    subprocess.run(command(finished_run, out, "--workers", "2"), check=True)
    rows = read_results(out)[1]
    assert len(rows) == 2 * EPISODES and table(rows) == undisturbed


def test_ray_gives_the_same_table(finished_run, undisturbed, tmp_path):
    pytest.importorskip("ray", reason="optional: requirements/ray.txt")
    flags = ("--ray", "local", "--workers", "2")
    subprocess.run(command(finished_run, tmp_path / "out", *flags), check=True)
    assert table(read_results(tmp_path / "out")[1]) == undisturbed
