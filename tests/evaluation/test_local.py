"""Worker processes and the policy process, with environments that take microseconds."""

from __future__ import annotations

import functools
import os
import signal

import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.batching import Batcher
from semanticvla_jax.evaluation.engine import run_jobs
from semanticvla_jax.evaluation.local import LocalPool, ThisProcess
from tests.evaluation.fakes import DyingPolicy, FakePolicy, FaultyEnv, MeetingEnv, jobs, setup

TODO = jobs(tasks=2, episodes=4)


def pool(setup, workers: int = 2, timeout: float = 20, delay: float = 0.01) -> LocalPool:
    return LocalPool(setup, workers, Batcher(delay), timeout)


def outcomes(results) -> dict:
    """What an episode's result is about, times and places left out."""
    return {
        job: (result["success"], result["steps"], result["actions_digest"])
        for job, result in results
        if result["status"] == "ok"
    }


@pytest.fixture(scope="module")
def undisturbed() -> dict:
    return outcomes(run_jobs(ThisProcess(setup()), TODO, retries=0))


def test_results_do_not_depend_on_the_number_of_workers(tmp_path, undisturbed):
    assert len({steps for _, steps, _ in undisturbed.values()}) > 3, (
        "the episodes must differ for this test to tell"
    )
    meeting = functools.partial(MeetingEnv, tmp_path, 3)
    results = list(run_jobs(pool(setup(meeting), workers=3), TODO, retries=0))
    assert outcomes(results) == undisturbed
    assert {result["worker"] for _, result in results} == {0, 1, 2}
    for _, result in results:
        queries = -(-result["steps"] // 4)
        assert [len(result[name]) for name in ("latency_ms", "render_ms", "batch")] == [queries] * 3


def test_waiting_queries_are_served_together(tmp_path, undisturbed):
    setting = setup(functools.partial(MeetingEnv, tmp_path, 3), functools.partial(FakePolicy, 0.02))
    results = list(run_jobs(pool(setting, 3, delay=1.0), TODO, retries=0))
    assert outcomes(results) == undisturbed
    assert max(batch for _, result in results for batch in result["batch"]) == 3


def test_exceptions_exits_and_hangs_cost_one_attempt_each(tmp_path, undisturbed):
    faults = {0: "exception", 1: "exit", 2: "hang"}
    faulty = setup(functools.partial(FaultyEnv, faults, tmp_path))
    results = list(run_jobs(pool(faulty, timeout=4), TODO, retries=1))
    assert outcomes(results) == undisturbed
    errors = [result for _, result in results if result["status"] == "error"]
    assert sorted(error["error_type"] for error in errors) == [
        *["RuntimeError"] * 2,
        *["WorkerDied"] * 2,
        *["WorkerHung"] * 2,
    ]
    assert {error["error"] for error in errors} == {
        "RuntimeError: simulator exploded",
        "WorkerDied: the worker process died (9)",
        "WorkerHung: killed after 4 s without a sign of life",
    }
    assert len(results) == len(TODO) + 6


@pytest.mark.parametrize("fault", ["exit", "exception", "hang"])
def test_the_policy_dies_and_no_episode_notices(tmp_path, undisturbed, fault):
    dying = functools.partial(DyingPolicy, tmp_path / "died", fault)
    timeout = 4 if fault == "hang" else 20
    results = list(run_jobs(pool(setup(make_policy=dying), timeout=timeout), TODO, retries=0))
    assert (tmp_path / "died").exists()
    assert outcomes(results) == undisturbed and len(results) == len(TODO)


def test_killed_from_outside(undisturbed):
    local = pool(setup(make_policy=functools.partial(FakePolicy, 0.01)))
    results = run_jobs(local, TODO, retries=1)
    seen = [next(results)]
    os.kill(local.pids()["policy"], signal.SIGKILL)
    seen.append(next(results))
    os.kill(local.pids()["worker 0"], signal.SIGKILL)
    seen += results
    assert outcomes(seen) == undisturbed


class NeverReady:
    def __init__(self):
        os._exit(7)


def unreadable():
    raise InputError("checkpoint", found="garbage", expected="parameters", fix="train again")


def test_a_policy_that_never_starts_ends_the_run():
    with pytest.raises(RuntimeError, match="3 times in a row, last: exit code 7"):
        list(run_jobs(pool(setup(make_policy=NeverReady)), TODO, retries=0))


def test_a_policy_that_cannot_be_loaded_tells_its_reason():
    with pytest.raises(InputError, match="train again"):
        list(run_jobs(pool(setup(make_policy=unreadable)), TODO, retries=0))


def test_no_process_is_left_behind():
    local = pool(setup())
    next(results := run_jobs(local, TODO, retries=0))
    pids = local.pids().values()
    results.close()
    assert len(pids) == 3
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
