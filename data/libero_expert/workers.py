"""Worker processes that record attempts and stage their outcomes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from data.libero_expert.configuration import Configuration
from data.libero_expert.episode import Episode
from data.libero_expert.staging import Attempt, Failure, Staging
from semanticvla_jax.errors import InputError

SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}
"""Each worker is one thread: numerical libraries and Mesa's software renderer included."""

Recorder = Callable[[Attempt], Episode | Failure]
MakeRecorder = Callable[[Configuration], Recorder]


@dataclass(frozen=True)
class Finished:
    success: bool


@dataclass(frozen=True)
class Crashed:
    traceback: str


def work(
    connection: Connection,
    make_recorder: MakeRecorder,
    configuration: Configuration,
    staging: Staging,
) -> None:
    """A worker's life: one attempt after the other until the connection closes or it crashes.

    After an exception the process ends, because the simulator may be left in a bad state.
    """
    try:
        record = make_recorder(configuration)
        while True:
            attempt = connection.recv()
            connection.send(Finished(staging.save(attempt, record(attempt))))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except InputError as error:
        result = error
    except Exception:
        result = Crashed(traceback.format_exc())
    with contextlib.suppress(BrokenPipeError):
        connection.send(result)


class Worker:
    """A worker process and the attempt it is running, None when idle."""

    def __init__(self, make_recorder: MakeRecorder, configuration: Configuration, staging: Staging):
        context = multiprocessing.get_context("spawn")
        self.attempt: Attempt | None = None
        self.connection, remote = context.Pipe()
        self._process = context.Process(
            target=work, args=(remote, make_recorder, configuration, staging), daemon=True
        )
        with _environment(SINGLE_THREADED):
            self._process.start()
        remote.close()

    def assign(self, attempt: Attempt) -> None:
        self.attempt = attempt
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(attempt)  # that the worker died shows in `receive`

    def receive(self) -> tuple[Attempt, Finished | Crashed | InputError]:
        """The running attempt and its result; waits until `connection` is readable or closed."""
        attempt, self.attempt = self.attempt, None
        try:
            return attempt, self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode
            return attempt, Crashed(f"the worker process ended with exit code {code}")

    def stop(self) -> None:
        self.connection.close()
        self._process.terminate()
        self._process.join()


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
