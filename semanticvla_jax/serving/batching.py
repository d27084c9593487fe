"""Requests of all clients, gathered into batches: oldest first, in one compute thread."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.serving.metrics import Metrics
from semanticvla_jax.serving.served_policy import Acted, BatchedPolicy, Row

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Computed:
    """What one request came to, and where its time went (s); see served_policy.Acted."""

    actions: np.ndarray
    queued: float
    inference: float
    remembered: Any = None
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class _Request:
    arrived: float
    policy: BatchedPolicy
    row: Row
    answer: asyncio.Future = field(repr=False)


class Batcher:
    """Computes what clients ask in batches, one at a time.

    A batch starts when it is full, when every connected client waits in it, or when its oldest
    request has waited `wait` seconds; while one is computed, the next gathers.
    """

    def __init__(
        self,
        *,
        capacity: int,
        wait: float,
        clients: Callable[[], int],
        workers: Executor,
        metrics: Metrics,
    ):
        """Makes an empty queue; `run` must be running for anybody to get an answer.

        Args:
          capacity: requests in preparation or waiting.
          wait: seconds a request may wait for others.
          clients: how many are connected.
          workers: threads that prepare observations, so that the event loop never does.
          metrics: told of queue, batches and times.
        """
        self._capacity, self._wait, self._clients = capacity, wait, clients
        self._workers, self._metrics = workers, metrics
        self._queue: list[_Request] = []
        self._preparing = 0
        self._arrived = asyncio.Event()

    @property
    def waiting(self) -> int:
        return self._preparing + len(self._queue)

    async def submit(self, policy: BatchedPolicy, prepare: Callable[[], Row | Acted]) -> Computed:
        """One request's actions.

        Args:
          policy: computes it, even if another is swapped in meanwhile.
          prepare: makes the request's row, in a worker thread, or answers without the model.

        Raises:
          ServingError: "busy", "not_finite", "internal"; and whatever `prepare` raises.
        """
        if self.waiting >= self._capacity:
            raise ServingError(
                "busy",
                "too many requests are waiting",
                found=self.waiting,
                expected=f"fewer than {self._capacity}",
                fix="ask again shortly, ask less often, or run another server",
            )
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        self._preparing += 1
        self._count()
        try:
            row = await loop.run_in_executor(self._workers, prepare)
        finally:
            self._preparing -= 1
            self._count()
        if isinstance(row, Acted):
            return Computed(row.actions, loop.time() - arrived, 0.0, row.remembered, row.told)
        request = _Request(arrived, policy, row, loop.create_future())
        bisect.insort(self._queue, request, key=lambda waiting: waiting.arrived)
        self._count()
        self._arrived.set()
        return await request.answer

    async def run(self, compute: Executor) -> None:
        """Computes until cancelled; `compute` has one thread, which owns the device."""
        while True:
            await self._gather()
            if batch := self._take():
                await self._compute(batch, compute)

    async def _gather(self) -> None:
        while not self._queue:
            self._arrived.clear()
            await self._arrived.wait()
        oldest = self._queue[0]
        full = oldest.policy.sizes[-1]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(oldest.arrived + self._wait):
                while len(self._queue) < min(full, self._clients()):
                    self._arrived.clear()
                    await self._arrived.wait()

    def _take(self) -> list[_Request]:
        """The oldest requests of one policy; those whose clients are gone are dropped."""
        alive = [request for request in self._queue if not request.answer.done()]
        policy = alive[0].policy if alive else None
        batch = [request for request in alive if request.policy is policy]
        batch = batch[: policy.sizes[-1]] if policy else []
        self._queue = [request for request in alive if request not in batch]
        self._count()
        return batch

    async def _compute(self, batch: list[_Request], compute: Executor) -> None:
        loop = asyncio.get_running_loop()
        began, rows = loop.time(), [request.row for request in batch]
        try:
            outcomes = await loop.run_in_executor(compute, batch[0].policy.run, rows)
        except Exception:
            _log.exception("a batch of %d failed", len(batch))
            for request in batch:
                _fail(request, "internal", "the policy failed; the server's log says why")
            return
        seconds = loop.time() - began
        self._metrics.batch(len(batch), seconds)
        for request, acted in zip(batch, outcomes, strict=True):
            if not np.isfinite(acted.actions).all():
                _fail(request, "not_finite", "the policy computed actions that are not finite")
            elif not request.answer.done():
                times = began - request.arrived, seconds
                computed = Computed(acted.actions, *times, acted.remembered, acted.told)
                request.answer.set_result(computed)

    def _count(self) -> None:
        self._metrics.waiting.set(self.waiting)


def _fail(request: _Request, code: str, message: str) -> None:
    if not request.answer.done():
        request.answer.set_exception(ServingError(code, message))
