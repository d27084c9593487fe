"""Child processes that one pipe ties to this one."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable
from typing import Any

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.batching import Batcher
from semanticvla_jax.evaluation.served import Answer, Query, serve

DEATHS_IN_A_ROW = 3
STARTING = 60.0  # seconds that starting may take, before any other limit counts


class Child:
    """A spawned process with a pipe; it notices by the pipe when this process is gone."""

    def __init__(self, target: Callable[..., None], *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int:
        """Of a process that ends or has ended."""
        self._process.join()
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


class PolicyProcess:
    """A policy in a process of its own, which is started again when it dies or hangs.

    Queries are answered from nothing but themselves, so those that were under way are asked
    again and nobody notices.
    """

    def __init__(self, make_policy: Callable[[], Any], batcher: Batcher, timeout: float):
        """Starts it.

        Args:
          make_policy: picklable constructor of an object with `answer`, as `ServedPolicy`.
          batcher: of (asker, Query).
          timeout: seconds it may take to load and compile, or to answer.
        """
        self._make, self._batcher, self._timeout = make_policy, batcher, timeout
        self._deaths = 0
        self._start()

    def _start(self) -> None:
        self._child = Child(serve, self._make)
        self._ready = False
        self._serving: list[tuple[Any, Query]] = []
        self._since = time.monotonic() + STARTING

    @property
    def connection(self):
        return self._child.connection

    @property
    def pid(self) -> int:
        return self._child.pid

    def ask(self, asker: Any, query: Query) -> None:
        self._batcher.add((asker, query))

    def forget(self, asker: Any) -> None:
        """Drops what `asker`, who died, wanted to know."""
        self._batcher.discard(lambda entry: entry[0] is asker)

    def patience(self, company: bool) -> float | None:
        """Seconds until `tend` has something to do, None if only a message can change that."""
        if self._ready and not self._serving:
            return self._batcher.patience(company)
        return max(0.0, self._since + self._timeout - time.monotonic())

    def tend(self, company: bool) -> None:
        """Sends a batch if one is due; replaces a process that hangs.

        Args:
          company: whether anybody could still join the batch.
        """
        if self.patience(company) != 0.0:
            return
        if self._serving or not self._ready:
            self._replace(f"no answer for {self._timeout:.0f} s")
            return
        self._serving, self._since = self._batcher.take(), time.monotonic()
        try:
            self._child.connection.send([query for _, query in self._serving])
        except OSError:
            self._replace(f"exit code {self._child.exit_code()}")

    def receive(self) -> Iterable[tuple[Any, Answer]]:
        """(asker, answer) of what has arrived; call when `connection` has something.

        Raises:
          InputError: the policy cannot be loaded.
          RuntimeError: it died several times in a row.
        """
        try:
            message = self._child.connection.recv()
        except (EOFError, ConnectionResetError):
            self._replace(f"exit code {self._child.exit_code()}")
            return ()
        if isinstance(message, InputError):
            raise message
        if isinstance(message, Exception):
            self._replace(f"{type(message).__name__}: {message}")
            return ()
        if not self._ready:
            self._ready, self._batcher.capacity = True, max(message)
            return ()
        served, self._serving, self._deaths = self._serving, [], 0
        return [(asker, answer) for (asker, _), answer in zip(served, message, strict=True)]

    def _replace(self, reason: str) -> None:
        self._deaths += 1
        if self._deaths >= DEATHS_IN_A_ROW:
            raise RuntimeError(f"the policy failed {self._deaths} times in a row, last: {reason}")
        self._child.kill()
        self._batcher.give_back(self._serving)
        self._start()

    def close(self) -> None:
        self._child.kill()
