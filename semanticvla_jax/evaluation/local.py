"""Pools on this machine: worker processes that share one policy, or this process alone."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.batching import Batcher
from semanticvla_jax.evaluation.processes import STARTING, Child, PolicyProcess
from semanticvla_jax.evaluation.runner import EpisodeRunner, Job, Setup
from semanticvla_jax.evaluation.served import Answer, Query


@dataclass
class Simulator:
    """One worker process, while it lives, and what it does.

    Attributes:
      index: names it in the rows.
      scene: what its environment is made for.
      job: runs now.
      asking: it waits for the policy.
      heard: when it last gave a sign of life, by `time.monotonic`.
    """

    index: int
    child: Child | None = None
    scene: Hashable = None
    job: Job | None = None
    asking: bool = False
    heard: float = 0.0


class LocalPool:
    """Worker processes that step independently, and one policy process that they all ask.

    This process passes queries on, so that the death of a worker costs the attempt that it was
    at, and the death of the policy costs nothing but time.
    """

    def __init__(self, setup: Setup, workers: int, batcher: Batcher, timeout: float):
        """Starts the policy; workers start with their first job.

        Args:
          setup: what to run.
          workers: processes.
          batcher: of queries.
          timeout: seconds without a sign of life (a query or a result) after which a worker is
            killed; the time it waits for the policy does not count.
        """
        self._setup, self._timeout = setup, timeout
        self._simulators = [Simulator(index) for index in range(workers)]
        self._policy = None
        if setup.make_policy is not None:
            self._policy = PolicyProcess(setup.make_policy, batcher, timeout)

    @property
    def busy(self) -> list[Simulator]:
        return [simulator for simulator in self._simulators if simulator.job]

    def free(self) -> list[Simulator]:
        return [simulator for simulator in self._simulators if not simulator.job]

    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run."""
        found = {f"worker {s.index}": s.child.pid for s in self._simulators if s.child}
        return found | ({"policy": self._policy.pid} if self._policy else {})

    def submit(self, worker: Simulator, job: Job) -> None:
        worker.job, worker.scene, worker.heard = job, job.scene, time.monotonic()
        if worker.child is None:
            worker.child = Child(serve_episodes, self._setup)
            worker.heard += STARTING
        with contextlib.suppress(OSError):  # it died while idle, which `finished` will notice
            worker.child.connection.send(job)

    def finished(self) -> list[tuple[Job, dict[str, Any]]]:
        """See `engine.Pool`."""
        results: list[tuple[Job, dict[str, Any]]] = []
        while not results:
            by_connection = {worker.child.connection: worker for worker in self.busy}
            connections = [*by_connection, *([self._policy.connection] if self._policy else [])]
            for connection in multiprocessing.connection.wait(connections, self._patience()):
                if connection in by_connection:
                    results += self._hear(by_connection[connection])
                else:
                    self._pass_on_answers()
            results += self._give_up_on_silent()
            if self._policy:
                self._policy.tend(self._company())
        return results

    def _company(self) -> bool:
        return any(not worker.asking for worker in self.busy)

    def _patience(self) -> float:
        """Seconds that nothing but a message can shorten."""
        deadlines = [w.heard + self._timeout for w in self.busy if not w.asking]
        limits = [max(0.0, min(deadlines) - time.monotonic())] if deadlines else []
        if self._policy and (patience := self._policy.patience(self._company())) is not None:
            limits.append(patience)
        return min(limits, default=self._timeout)

    def _hear(self, worker: Simulator) -> list[tuple[Job, dict[str, Any]]]:
        try:
            message = worker.child.connection.recv()
        except (EOFError, ConnectionResetError):
            code = worker.child.exit_code()
            return [self._lose(worker, "WorkerDied", f"the worker process died ({code})")]
        worker.heard = time.monotonic()
        if message is None:
            return []
        if isinstance(message, Query):
            worker.asking = True
            self._policy.ask(worker.child, message)
            return []
        if isinstance(message, BaseException):
            raise message
        job, worker.job = worker.job, None
        return [(job, {**message, "worker": worker.index})]

    def _pass_on_answers(self) -> None:
        asking = {id(worker.child): worker for worker in self.busy if worker.asking}
        for child, answer in self._policy.receive():
            if worker := asking.get(id(child)):
                worker.asking, worker.heard = False, time.monotonic()
                with contextlib.suppress(OSError):  # it died meanwhile
                    child.connection.send(answer)

    def _give_up_on_silent(self) -> list[tuple[Job, dict[str, Any]]]:
        now = time.monotonic()
        silent = [w for w in self.busy if not w.asking and now >= w.heard + self._timeout]
        reason = f"killed after {self._timeout:g} s without a sign of life"
        return [self._lose(worker, "WorkerHung", reason) for worker in silent]

    def _lose(self, worker: Simulator, kind: str, reason: str) -> tuple[Job, dict[str, Any]]:
        """Removes a dead or hung process; its job ends in an error."""
        if self._policy:
            self._policy.forget(worker.child)
        worker.child.kill()
        job = worker.job
        worker.child, worker.job, worker.scene, worker.asking = None, None, None, False
        error = {"status": "error", "error_type": kind, "error": f"{kind}: {reason}"}
        return job, {**error, "worker": worker.index}

    def close(self) -> None:
        for worker in self._simulators:
            if worker.child:
                worker.child.kill()
        if self._policy:
            self._policy.close()


class ThisProcess:
    """A pool of one without processes: nothing can be killed, everything can be single-stepped."""

    def __init__(self, setup: Setup):
        self._setup, self._policy = setup, None
        self._runner = EpisodeRunner(setup, self._ask)
        self._only = Simulator(index=0)

    @property
    def busy(self) -> list[Simulator]:
        return [self._only] if self._only.job else []

    def free(self) -> list[Simulator]:
        return [] if self._only.job else [self._only]

    def submit(self, worker: Simulator, job: Job) -> None:
        worker.job, worker.scene = job, job.scene

    def finished(self) -> list[tuple[Job, dict[str, Any]]]:
        job, self._only.job = self._only.job, None
        return [(job, {**self._runner.run(job), "worker": 0})]

    def _ask(self, query: Query) -> Answer:
        if self._policy is None:
            self._policy = self._setup.make_policy()
        return self._policy.answer([query])[0]

    def close(self) -> None:
        self._runner.close()


def serve_episodes(connection, setup: Setup) -> None:
    """Main function of a worker process: says None when it is up, answers each job with its result.

    Queries go the same way in between. An exception is sent when it should end the evaluation.
    Ends when the other side closes the connection or dies.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    os.environ.setdefault("LP_NUM_THREADS", "1")  # software rendering: other workers draw too

    def ask(query: Query) -> Answer:
        connection.send(query)
        return connection.recv()

    runner = EpisodeRunner(setup, ask)
    with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError):
        connection.send(None)
        while True:
            job = connection.recv()
            try:
                outcome = runner.run(job)
            except InputError as error:
                outcome = error
            connection.send(outcome)
