"""Runs a fixed list of episodes on a pool; a crash costs one attempt of one episode."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Collection, Hashable, Iterable, Iterator
from typing import Any, Protocol

from semanticvla_jax.evaluation.runner import Job


class Worker(Protocol):
    """A place that runs one job at a time. `scene` is what its environment is made for."""

    scene: Hashable


class Pool(Protocol):
    """Workers, wherever they are."""

    busy: Collection[Worker]

    def free(self) -> list[Worker]:
        """Workers that can take a job now."""

    def submit(self, worker: Worker, job: Job) -> None: ...

    def finished(self) -> list[tuple[Job, dict[str, Any]]]:
        """Waits until at least one job has ended; jobs and their results.

        Raises:
          InputError: the agent or the policy is at fault, so that going on is pointless.
        """

    def close(self) -> None: ...


class Backlog:
    """Jobs that wait, by scene: a worker stays with its scene as long as that has jobs."""

    def __init__(self, jobs: Iterable[Job]):
        self._by_scene: dict[Hashable, deque[Job]] = {}
        for job in jobs:
            self.add(job)

    def __bool__(self) -> bool:
        return bool(self._by_scene)

    def add(self, job: Job) -> None:
        self._by_scene.setdefault(job.scene, deque()).append(job)

    def take(self, scene: Hashable, elsewhere: Collection[Hashable]) -> Job:
        """The next job for a worker.

        Args:
          scene: the worker's current one.
          elsewhere: scenes that other workers are at. A worker that needs a new one goes where
            nobody is, else where most jobs wait.
        """
        if scene not in self._by_scene:
            untouched = [other for other in self._by_scene if other not in elsewhere]
            scene = max(untouched or self._by_scene, key=lambda other: len(self._by_scene[other]))
        jobs = self._by_scene[scene]
        job = jobs.popleft()
        if not jobs:
            del self._by_scene[scene]
        return job


def run_jobs(
    pool: Pool, jobs: Iterable[Job], *, retries: int
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Yields (job, result) as episodes end; an errored job comes back up to `retries` times more.

    Results do not depend on the pool, except for their order and times.
    """
    attempts: Counter[Job] = Counter()
    backlog = Backlog(jobs)
    with contextlib.closing(pool):
        while backlog or pool.busy:
            for worker in pool.free():
                if backlog:
                    elsewhere = {other.scene for other in pool.busy}
                    pool.submit(worker, backlog.take(worker.scene, elsewhere))
            for job, result in pool.finished():
                attempts[job] += 1
                if result["status"] == "error" and attempts[job] <= retries:
                    backlog.add(job)
                yield job, {**result, "attempt": attempts[job]}
