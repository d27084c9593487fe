"""Which attempt comes next, so that the dataset depends on neither workers nor interruptions.

Attempts at a task are started in order, and never more at once than successes are still missing.
Hence, when the last success is in, the finished attempts are exactly the shortest run of attempts
0, 1, 2, ... that holds the wanted number of successes, whoever ran them and however often the
collection was interrupted.
"""

from __future__ import annotations

from data.libero_expert.configuration import Configuration

ATTEMPTS_PER_EPISODE = 5
SPARE_ATTEMPTS = 10


class TooFewSuccesses(RuntimeError):
    """The expert solves too small a part of its attempts for this collection to end."""


class Schedule:
    """Keeps track of the attempts at every task. An attempt is named (task, number)."""

    def __init__(self, configuration: Configuration, finished: dict[tuple[int, int], bool]):
        self._configuration = configuration
        self._outcomes: dict[int, dict[int, bool]] = {task: {} for task in configuration.tasks}
        self._running: dict[int, set[int]] = {task: set() for task in configuration.tasks}
        for (task, number), success in finished.items():
            self._outcomes[task][number] = success

    def start_next(self) -> tuple[int, int] | None:
        """Marks an attempt as running and returns it; None when there is nothing to start now."""
        for task in self._configuration.tasks:
            running, outcomes = self._running[task], self._outcomes[task]
            if self.successes(task) + len(running) >= self._configuration.episodes:
                continue
            number = 0
            while number in outcomes or number in running:
                number += 1
            self._refuse_hopeless(task, number)
            running.add(number)
            return task, number
        return None

    def finish(self, task: int, number: int, success: bool) -> None:
        self._running[task].remove(number)
        self._outcomes[task][number] = success

    @property
    def complete(self) -> bool:
        return all(
            self.successes(task) >= self._configuration.episodes
            for task in self._configuration.tasks
        )

    def successes(self, task: int) -> int:
        return sum(self._outcomes[task].values())

    def attempts(self, task: int) -> dict[int, bool]:
        """Attempt number -> success, in order, of the finished attempts at `task`."""
        return dict(sorted(self._outcomes[task].items()))

    def total_successes(self) -> int:
        return sum(self.successes(task) for task in self._configuration.tasks)

    def total_attempts(self) -> int:
        return sum(len(outcomes) for outcomes in self._outcomes.values())

    def _refuse_hopeless(self, task: int, number: int) -> None:
        limit = ATTEMPTS_PER_EPISODE * self._configuration.episodes + SPARE_ATTEMPTS
        if number >= limit:
            raise TooFewSuccesses(
                f"task {task} of {self._configuration.suite}: the expert succeeded in only "
                f"{self.successes(task)} of {number} attempts; leave this task out of --tasks, "
                "or ask for less --jitter or --noise"
            )
