"""The staging directory: one finished file per attempt, the memory of an interrupted collection."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from data.libero_expert.configuration import Configuration
from data.libero_expert.episode import Episode
from data.libero_expert.files import UNFINISHED, write_atomically


@dataclass(frozen=True, order=True)
class Attempt:
    """One try of the expert at one task; everything random in it follows from `seed`."""

    task: int
    number: int
    seed: int

    @property
    def stem(self) -> str:
        return f"task{self.task:02d}_attempt{self.number:05d}_seed{self.seed}"


@dataclass(frozen=True)
class Failure:
    """The expert did not reach the goal; remembered so that a rerun does not try again."""

    reason: str
    steps: int


class Staging:
    """Files named by (task, attempt, seed): `.npz` an episode, `.json` a failure."""

    def __init__(self, directory: Path, configuration: Configuration):
        self.directory = directory
        self._configuration = configuration
        directory.mkdir(exist_ok=True)
        for leftover in directory.glob(f"{UNFINISHED}*"):
            leftover.unlink(missing_ok=True)

    def attempt(self, task: int, number: int) -> Attempt:
        return Attempt(task, number, self._configuration.episode_seed(task, number))

    def outcomes(self) -> dict[tuple[int, int], bool]:
        """(task, attempt number) -> success, of all finished attempts."""
        found = {}
        for path in self.directory.glob("task*_attempt*_seed*.*"):
            task, number, _ = path.stem.split("_")
            key = int(task.removeprefix("task")), int(number.removeprefix("attempt"))
            found[key] = path.suffix == ".npz"
        return found

    def episode_path(self, attempt: Attempt) -> Path:
        return self.directory / f"{attempt.stem}.npz"

    def failure_path(self, attempt: Attempt) -> Path:
        return self.directory / f"{attempt.stem}.json"

    def save(self, attempt: Attempt, outcome: Episode | Failure) -> bool:
        """Stores the outcome of an attempt; returns whether it succeeded."""
        if isinstance(outcome, Failure):
            write_atomically(self.failure_path(attempt), json.dumps(asdict(outcome)).encode())
            return False
        write_atomically(self.episode_path(attempt), outcome.to_bytes())
        return True

    def load_episode(self, attempt: Attempt) -> Episode:
        return Episode.from_bytes(self.episode_path(attempt).read_bytes())

    def load_failure(self, attempt: Attempt) -> Failure:
        return Failure(**json.loads(self.failure_path(attempt).read_text()))
