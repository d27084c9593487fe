"""Runs attempts in worker processes until every task has its episodes; a crash loses nothing."""

from __future__ import annotations

from collections import Counter
from multiprocessing.connection import wait

from tqdm import tqdm

from data.libero_expert.configuration import Configuration
from data.libero_expert.schedule import Schedule
from data.libero_expert.staging import Attempt, Staging
from data.libero_expert.workers import Crashed, Finished, MakeRecorder, Worker

TRIES = 3
"""How often an attempt is run whose worker crashes, before it counts as failed."""
CRASHED_ATTEMPTS_ALLOWED = 2
"""Attempts that may count as failed for that reason; one more and something general is wrong."""


class CollectionStopped(RuntimeError):
    """Workers keep crashing; what is staged so far is kept."""


class Collection:
    """One run of the collect phase; continues from what is staged."""

    def __init__(
        self,
        configuration: Configuration,
        staging: Staging,
        make_recorder: MakeRecorder,
        workers: int,
    ):
        """Args: make_recorder: importable by name; called once in every worker process."""
        self.schedule = Schedule(configuration, staging.outcomes())
        self._staging = staging
        self._worker_limit = workers
        self._new_worker = lambda: Worker(make_recorder, configuration, staging)
        self._workers: list[Worker] = []
        self._crashes: Counter[Attempt] = Counter()
        self._to_repeat: list[Attempt] = []
        self._bar = tqdm(
            total=configuration.total_episodes,
            initial=self.schedule.total_successes(),
            desc=f"demonstrations, {configuration.suite}",
            unit="episode",
            dynamic_ncols=True,
        )

    def run(self) -> Schedule:
        """Returns the complete schedule.

        Raises: InputError from a worker; CollectionStopped when workers keep crashing;
          TooFewSuccesses when the expert mostly fails.
        """
        try:
            while not self.schedule.complete:
                self._give_out_attempts()
                busy = {w.connection: w for w in self._workers if w.attempt is not None}
                for connection in wait(list(busy)):
                    self._take_result(busy[connection])
        finally:
            self._bar.close()
            for worker in self._workers:
                worker.stop()
        return self.schedule

    def _give_out_attempts(self) -> None:
        while True:
            idle = next((w for w in self._workers if w.attempt is None), None)
            if idle is None and len(self._workers) >= self._worker_limit:
                return
            attempt = self._next_attempt()
            if attempt is None:
                return
            if idle is None:
                idle = self._new_worker()
                self._workers.append(idle)
            idle.assign(attempt)

    def _next_attempt(self) -> Attempt | None:
        if self._to_repeat:
            return self._to_repeat.pop(0)
        started = self.schedule.start_next()
        return None if started is None else self._staging.attempt(*started)

    def _take_result(self, worker: Worker) -> None:
        attempt, result = worker.receive()
        if isinstance(result, Finished):
            self._count(attempt, result.success)
            return
        self._workers.remove(worker)
        worker.stop()
        if not isinstance(result, Crashed):
            raise result
        self._repeat_or_give_up(attempt, result)

    def _repeat_or_give_up(self, attempt: Attempt, crash: Crashed) -> None:
        self._crashes[attempt] += 1
        again = self._crashes[attempt] < TRIES
        tqdm.write(
            f"worker crashed on {attempt.stem} ({crash.traceback.strip().splitlines()[-1]}); "
            + ("trying it again" if again else "giving it up")
        )
        if again:
            self._to_repeat.append(attempt)
            return
        given_up = sum(count >= TRIES for count in self._crashes.values())
        if given_up > CRASHED_ATTEMPTS_ALLOWED:
            raise CollectionStopped(
                f"{given_up} attempts crashed {TRIES} times each; the last one:\n{crash.traceback}"
            )
        self._count(attempt, success=False)

    def _count(self, attempt: Attempt, success: bool) -> None:
        self.schedule.finish(attempt.task, attempt.number, success)
        successes, attempts = self.schedule.total_successes(), self.schedule.total_attempts()
        self._bar.set_postfix_str(f"{successes} of {attempts} attempts succeeded", refresh=False)
        self._bar.update(successes - self._bar.n)
