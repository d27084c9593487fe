"""One side of the comparison, in a process of its own that is told what to do line by line.

Imports nothing beyond Python and NumPy, which both sides have.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from benchmarks.latency.inputs import Observation


class Side(Protocol):
    """An implementation, ready to be measured.

    Attributes:
      about: JSON values: `device`, `version`, and `failed` {call: why it cannot be measured}.
      calls: by name, a whole query each: observation -> actions, on the host.
    """

    about: dict[str, Any]
    calls: Mapping[str, Callable[[Observation], Any]]

    def draw(self, index: int) -> Observation:
        """Observation number `index`."""

    def stages(self) -> Mapping[str, Callable[[], Any]]:
        """Parts of a query, each on inputs of its own, done when it returns."""

    def ceilings(self) -> dict[str, float]:
        """`copy` B/s, read and written; `product` FLOP/s: the best this machine reaches here."""


def cores() -> str:
    """What a CPU is called."""
    return f"{os.cpu_count()} CPU cores"


def seconds_of(call: Callable[[], Any], count: int) -> list[float]:
    """Of each of `count` calls."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return seconds


def block(side: Side, call: str, first: int, count: int) -> list[float]:
    """Seconds of `count` queries with observations `first` and following; one more settles it."""
    observations = [side.draw(first + i) for i in range(count)]
    side.calls[call](side.draw(first + count))
    queries = iter(observations)
    return seconds_of(lambda: side.calls[call](next(queries)), count)


def stage_seconds(side: Side, count: int) -> dict[str, list[float]]:
    """Of each stage, after two calls that warm it up."""
    return {name: seconds_of(stage, count + 2)[2:] for name, stage in side.stages().items()}


ORDERS: dict[str, Callable[..., Any]] = {
    "block": block,
    "stages": stage_seconds,
    "ceilings": lambda side: side.ceilings(),
}


def serve(make: Callable[..., Side]) -> None:
    """Makes a side as the first line says, and does what the following ones say."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print belongs to the messages

    def reply(value: Any) -> None:
        print(json.dumps(value), file=replies, flush=True)

    side = make(**json.loads(sys.stdin.readline()))
    reply({"calls": list(side.calls), **side.about})
    for line in sys.stdin:
        order, arguments = json.loads(line)
        reply(ORDERS[order](side, **arguments))


class Worker:
    """A process that serves a side; ends with the `with` statement that it is used in."""

    def __init__(
        self,
        command: Sequence[str],
        told: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ):
        """Starts it.

        Args:
          command: that calls `serve`.
          told: JSON values, the arguments of its `make`.
          environment: variables beside this process's.
        """
        self.command = list(command)
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._write(told)
        self.about: dict[str, Any] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ready(self) -> dict[str, Any]:
        """Waits until the side is made; its `about`."""
        if self.about is None:
            self.about = self._read()
        return self.about

    def ask(self, order: str, **arguments: Any) -> Any:
        """The reply to one of ORDERS.

        Raises:
          Ended: the process is gone.
        """
        self.ready()
        self._write((order, arguments))
        return self._read()

    def _write(self, value: Any) -> None:
        try:
            print(json.dumps(value), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            self._ended()

    def _read(self) -> Any:
        line = self._process.stdout.readline()
        return json.loads(line) if line else self._ended()

    def _ended(self) -> None:
        raise Ended(f"`{' '.join(self.command)}` ended with status {self._process.wait()}")


class Ended(Exception):
    """A worker's process is gone; its own message stands above."""
