"""The engine's bookkeeping, on a pool of stubs."""

from __future__ import annotations

import itertools
from collections import Counter
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from semanticvla_jax.evaluation.engine import Backlog, run_jobs
from tests.evaluation.fakes import jobs


class StubPool:
    """Finishes the job that `choose` picks among the busy ones, with the next of its outcomes."""

    def __init__(self, workers: int, outcomes=lambda job, attempt: "ok", choose=lambda n: 0):
        self.workers = [SimpleNamespace(scene=None, job=None) for _ in range(workers)]
        self.outcomes, self.choose = outcomes, choose
        self.runs: Counter = Counter()
        self.log: list[tuple[int, object]] = []
        self.closed = False

    @property
    def busy(self):
        return [worker for worker in self.workers if worker.job]

    def free(self):
        return [worker for worker in self.workers if not worker.job]

    def submit(self, worker, job):
        self.log.append((self.workers.index(worker), job.scene))
        worker.job, worker.scene = job, job.scene

    def finished(self):
        worker = self.busy[self.choose(len(self.busy))]
        job, worker.job = worker.job, None
        self.runs[job] += 1
        return [(job, {"status": self.outcomes(job, self.runs[job])})]

    def close(self):
        self.closed = True


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.data())
def test_every_job_ends_once_whatever_the_order(workers, tasks, episodes, data):
    pool = StubPool(workers, choose=lambda count: data.draw(st.integers(0, count - 1)))
    todo = jobs(tasks, episodes)
    done = [job for job, _ in run_jobs(pool, todo, retries=0)]
    assert Counter(done) == Counter(todo) and pool.closed


def test_errors_come_back_until_the_retries_are_used_up():
    todo = jobs(1, 3)
    outcomes = {todo[0]: ["ok"], todo[1]: ["error", "ok"], todo[2]: ["error"] * 9}
    pool = StubPool(2, lambda job, run: outcomes[job][run - 1])
    rows = [(job, row["status"], row["attempt"]) for job, row in run_jobs(pool, todo, retries=2)]
    assert [row[1:] for row in rows if row[0] == todo[1]] == [("error", 1), ("ok", 2)]
    assert [row[1:] for row in rows if row[0] == todo[2]] == [("error", n) for n in (1, 2, 3)]


def test_a_worker_stays_with_its_scene_and_begins_where_nobody_is():
    turns = itertools.cycle([0, 1])
    pool = StubPool(2, choose=lambda busy: next(turns) % busy)
    list(run_jobs(pool, jobs(tasks=2, episodes=3), retries=0))
    scenes = [{scene for worker, scene in pool.log if worker == index} for index in (0, 1)]
    assert [len(scene) for scene in scenes] == [1, 1] and scenes[0] != scenes[1]


def test_a_worker_that_needs_a_scene_goes_where_nobody_is_else_where_most_jobs_wait():
    first, second = jobs(tasks=2, episodes=1)
    many = [job for job in jobs(tasks=2, episodes=3) if job.scene == second.scene]
    assert Backlog([first, *many]).take(None, {second.scene}) == first
    assert Backlog([first, *many]).take(None, ()).scene == second.scene
    assert Backlog([first, *many]).take(None, {first.scene, second.scene}).scene == second.scene


def test_closing_early_closes_the_pool():
    pool = StubPool(1)
    results = run_jobs(pool, jobs(1, 2), retries=0)
    next(results)
    results.close()
    assert pool.closed
