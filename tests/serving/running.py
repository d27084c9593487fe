"""A policy that needs no model, and a server of it in a thread that always stops."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from semanticvla_jax.client.policy_client import PolicyClient
from semanticvla_jax.interface import check_observation
from semanticvla_jax.robots import LIBERO, RobotSpec
from semanticvla_jax.serving.options import ServerOptions
from semanticvla_jax.serving.served_policy import BatchedPolicy
from semanticvla_jax.serving.server import PolicyServer

PATIENCE = 60  # s for anything that must happen


@dataclass
class FakePolicy:
    """Action k of the chunk is the state's first number + `offset` + k, in every dim.

    Attributes:
      entered: computations begun.
      batches: sizes of those done, padding included.
      gate: cleared, it makes computations wait; they need it set.
    """

    label: str = "/somewhere/fake@1"
    offset: float = 0.0
    robot: RobotSpec = LIBERO
    camera_size: int = 16
    chunk: int = 8
    entered: int = 0
    batches: list[int] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    seconds: float = 0.0

    def __post_init__(self):
        self.gate.set()

    def receive(self, observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
        check_observation(observation, self.robot)
        if observation["instruction"] == "crash while preparing":
            raise RuntimeError("a secret of the server")
        return {"state": np.asarray(observation["state"], np.float32)}

    def compile(self, sizes: Sequence[int]) -> None:
        """There is nothing to compile."""

    def compute(self, rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        self.entered += 1
        assert self.gate.wait(PATIENCE)
        time.sleep(self.seconds)
        self.batches.append(len(rows))
        states = np.stack([row["state"] for row in rows])
        if (states[:, 1] == -1).any():
            raise RuntimeError("a secret of the device")
        with np.errstate(over="ignore"):
            first = 10 * states[:, 0] / 10 + self.offset  # overflows where a model would
        steps = np.arange(self.chunk, dtype=np.float32)
        values = first[:, None, None] + steps[None, :, None]
        return np.repeat(values, self.robot.action_size, axis=2)

    def finish(self, actions: np.ndarray) -> np.ndarray:
        return actions.astype(np.float32)

    def example(self) -> dict[str, np.ndarray]:
        return {"state": np.zeros(self.robot.state_size, np.float32)}


def observation(value: float = 0.0, size: int = 16, **changes) -> dict[str, Any]:
    image = np.zeros((size, size, 3), np.uint8)
    state = np.zeros(8, np.float32)
    state[0] = value
    return {
        "image": image,
        "wrist_image": image,
        "state": state,
        "instruction": "turn on the stove",
    } | changes


@dataclass
class Running:
    """A server in another thread.

    Attributes:
      result: what `PolicyServer.run` returned or raised, once stopped.
    """

    server: PolicyServer
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    result: list[Any]

    @property
    def url(self) -> str:
        scheme = "wss" if self.server.options.tls else "ws"
        return f"{scheme}://localhost:{self.server.port}"

    @property
    def page(self) -> str:
        return self.url.replace("ws", "http", 1)

    def client(self, **options) -> PolicyClient:
        return PolicyClient(self.url, **{"timeout": PATIENCE, **options})

    def call(self, function: Callable[[], Any]) -> None:
        """Runs a function in the server's loop."""
        self.loop.call_soon_threadsafe(function)

    def stop(self) -> Any:
        with contextlib.suppress(RuntimeError):  # it has drained, and its loop is closed
            self.call(self.server.stop)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the server did not stop"
        return self.result[0]


@contextlib.contextmanager
def running(
    policy: FakePolicy | None = None,
    *,
    load: Callable[[], Any] | None = None,
    batched: Callable[..., BatchedPolicy] = BatchedPolicy,
    ready: bool = True,
    **options,
) -> Iterator[Running]:
    """Serves on a free port of loopback; `ready` waits until a policy is compiled."""
    policy = policy or FakePolicy()
    chosen = {"port": 0, "host": "localhost", "drain_timeout": 10.0, **options}
    started: list[Running] = []
    up = threading.Event()

    async def main() -> None:
        server = PolicyServer(load or (lambda: policy), ServerOptions(**chosen), batched)
        loop, thread = asyncio.get_running_loop(), threading.current_thread()
        started.append(Running(server, loop, thread, result))
        task = asyncio.create_task(server.run())
        waiting = asyncio.create_task(server.listening.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if ready and not task.done():
            await server.slot.filled.wait()
        up.set()
        try:
            result.append(await task)
        except Exception as error:
            result.append(error)

    result: list[Any] = []
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert up.wait(PATIENCE), "the server did not start"
    run = started[0]
    try:
        yield run
    finally:
        if thread.is_alive():
            with contextlib.suppress(RuntimeError):
                run.call(run.server.stop)
            thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not stop"


def once() -> Iterator[float]:
    """A client's delays with which it asks a single time."""
    return itertools.repeat(math.inf)


def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition that another thread brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
