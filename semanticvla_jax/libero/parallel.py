"""Runs many episodes, in this process or in several; a crash costs one attempt of one episode."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.assets.resolve import Assets
from semanticvla_jax.libero.env import LiberoEnv, Placement
from semanticvla_jax.libero.rendering import Rendering
from semanticvla_jax.libero.rollout import Agent, Film, run_episode
from semanticvla_jax.libero.suites import Task


@dataclass(frozen=True)
class Job:
    """One episode to run; `video` is where to write its film, if anywhere."""

    task: Task
    placement: Placement
    seed: int = 0
    video: Path | None = None


@dataclass(frozen=True)
class Setup:
    """What every worker needs to run any job. `make_agent` must be picklable."""

    make_agent: Callable[[], Agent]
    assets: Assets
    rendering: Rendering
    max_steps: int | None = None


class EpisodeRunner:
    """Runs jobs one after the other, keeping the agent and the current task's environment."""

    def __init__(self, setup: Setup):
        self._setup, self._agent = setup, None
        self._env: LiberoEnv | None = None

    def run(self, job: Job) -> dict[str, Any]:
        """The episode's result: {status: 'ok', success, ...} or {status: 'error', error}.

        Raises:
          InputError: the agent or its checkpoint is at fault, so that trying again is pointless.
        """
        if self._agent is None:
            self._agent = self._setup.make_agent()
        began = time.monotonic()
        try:
            result = self._episode(job)
        except InputError:
            raise
        except Exception as error:
            self.close()
            result = {"status": "error", "error": f"{type(error).__name__}: {error}"}
        return {**result, "seconds": round(time.monotonic() - began, 2)}

    def _episode(self, job: Job) -> dict[str, Any]:
        film = Film() if job.video else lambda env: None
        episode = run_episode(
            self._env_of(job),
            self._agent,
            job.placement,
            max_steps=self._setup.max_steps,
            after_step=film,
        )
        if job.video:
            film.write(job.video)
        return {
            "status": "ok",
            "success": episode.success,
            "steps": episode.steps,
            "latency_ms": [round(1000 * seconds, 2) for seconds in episode.latencies],
        }

    def _env_of(self, job: Job) -> LiberoEnv:
        if self._env is None or (self._env.task, self._env.seed) != (job.task, job.seed):
            self.close()
            self._env = LiberoEnv(
                job.task,
                image_size=self._agent.camera_size,
                rendering=self._setup.rendering,
                assets=self._setup.assets,
                seed=job.seed,
            )
        return self._env

    def close(self) -> None:
        if self._env is not None:
            with contextlib.suppress(Exception):
                self._env.close()
        self._env = None


def run_jobs(
    setup: Setup, jobs: Iterable[Job], *, workers: int = 1, retries: int = 2
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Yields (job, result) as episodes end; an errored job comes back up to `retries` times more.

    Results do not depend on `workers`, except for their order.
    """
    attempts: Counter[Job] = Counter()
    queue = deque(jobs)
    pool = _Processes(setup, min(workers, len(queue))) if workers > 1 else _ThisProcess(setup)
    with contextlib.closing(pool):
        while queue or pool.busy:
            while queue and pool.has_room:
                pool.submit(queue.popleft())
            for job, result in pool.finished():
                attempts[job] += 1
                if result["status"] == "error" and attempts[job] <= retries:
                    queue.append(job)
                yield job, {**result, "attempt": attempts[job]}


class _ThisProcess:
    """The interface of `_Processes` without processes."""

    def __init__(self, setup: Setup):
        self._runner = EpisodeRunner(setup)
        self.busy: list[Job] = []

    @property
    def has_room(self) -> bool:
        return not self.busy

    def submit(self, job: Job) -> None:
        self.busy.append(job)

    def finished(self) -> list[tuple[Job, dict]]:
        job = self.busy.pop()
        return [(job, self._runner.run(job))]

    def close(self) -> None:
        self._runner.close()


class _Processes:
    """Worker processes with one job each at most, so that a dead one tells which job it had."""

    def __init__(self, setup: Setup, count: int):
        self._setup, self._count = setup, count
        self._idle: list[_Worker] = []
        self.busy: dict[Any, tuple[_Worker, Job]] = {}

    @property
    def has_room(self) -> bool:
        return len(self.busy) < self._count

    def submit(self, job: Job) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self._setup)
        worker.connection.send(job)
        self.busy[worker.connection] = worker, job

    def finished(self) -> list[tuple[Job, dict]]:
        results = []
        for connection in multiprocessing.connection.wait(list(self.busy)):
            worker, job = self.busy.pop(connection)
            try:
                answer = connection.recv()
            except (EOFError, ConnectionResetError):
                worker.process.join()
                died = f"the worker process died with exit code {worker.process.exitcode}"
                results.append((job, {"status": "error", "error": died}))
                continue
            self._idle.append(worker)
            if isinstance(answer, BaseException):
                raise answer
            results.append((job, answer))
        return results

    def close(self) -> None:
        for worker in (*self._idle, *(worker for worker, _ in self.busy.values())):
            worker.process.terminate()


class _Worker:
    def __init__(self, setup: Setup):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, setup), daemon=True)
        self.process.start()
        theirs.close()


def _serve(connection, setup: Setup) -> None:
    """Answers each job with its result, or with the exception that ends the evaluation.

    Ends when the parent closes the connection or is killed.
    """
    runner = EpisodeRunner(setup)
    with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError):
        while True:
            job = connection.recv()
            try:
                answer = runner.run(job)
            except InputError as error:
                answer = error
            except Exception as error:
                answer = RuntimeError(f"{type(error).__name__}: {error}")
            connection.send(answer)
