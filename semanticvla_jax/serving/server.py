"""The server: connections, batches and policies together, from the first load to the drain."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from websockets.asyncio.server import ServerConnection, serve

from semanticvla_jax.serving.batching import Batcher
from semanticvla_jax.serving.gate import Gate
from semanticvla_jax.serving.metrics import Metrics
from semanticvla_jax.serving.options import ServerOptions
from semanticvla_jax.serving.served_policy import BatchedPolicy, ServablePolicy
from semanticvla_jax.serving.session import Session
from semanticvla_jax.serving.slot import PolicySlot

_log = logging.getLogger(__name__)
_POLL = 0.02  # s between looks at what a drain still waits for


class PolicyServer:
    """Serves one policy on one port. The event loop only moves bytes; threads compute.

    Attributes:
      options, metrics, slot, batcher: shared by all sessions.
      draining: no new work is taken.
      sockets: where it listens, once `listening` is set.
    """

    def __init__(
        self,
        load: Callable[[], ServablePolicy],
        options: ServerOptions,
        batched: Callable[..., BatchedPolicy] = BatchedPolicy,
    ):
        """Must be made inside a running event loop.

        Args:
          load: makes the policy; called again for each reload, in a thread.
          options: limits.
          batched: of (what `load` makes, batch sizes): how it computes batches.
        """
        self.options, self.metrics = options, Metrics()
        self.slot = PolicySlot(load, options.batch_sizes, self.metrics, batched)
        self._sessions: set[Session] = set()
        self._workers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="prepare")
        self._compute = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self.batcher = Batcher(
            capacity=options.queue,
            wait=options.batch_wait,
            clients=lambda: self.clients,
            workers=self._workers,
            metrics=self.metrics,
        )
        self.draining = False
        self.listening = asyncio.Event()
        self._stop = asyncio.Event()
        self._reloads: set[asyncio.Task] = set()

    @property
    def clients(self) -> int:
        return len(self._sessions)

    @property
    def port(self) -> int:
        return self.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Refuses what is new and finishes what was asked; then `run` returns. In the loop."""
        self.draining = True
        self.metrics.ready.set(0)
        self._stop.set()

    def reload(self) -> None:
        """Loads the policy again in the background and swaps. In the loop."""
        task = asyncio.create_task(self.slot.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def run(self) -> bool:
        """Listens, loads, serves until `stop`; True if everything asked was answered.

        Raises:
          OSError: the port cannot be had.
          Exception: whatever the first load raises.
        """
        options = self.options
        batches = asyncio.create_task(self.batcher.run(self._compute))
        try:
            async with serve(
                self._session,
                options.host,
                options.port,
                ssl=options.tls,
                origins=[None, *options.origins],
                process_request=Gate(self),
                compression=None,
                server_header=None,
                max_size=options.message_bytes,
                max_queue=1,
                open_timeout=options.open_timeout,
                ping_interval=options.ping_interval,
                ping_timeout=options.ping_timeout,
                close_timeout=min(5.0, options.send_timeout),
            ) as server:
                self.sockets = server.sockets
                self.listening.set()
                await self._until_stopped(batches)
                return await self._drain()
        finally:
            batches.cancel()
            for threads in (self._workers, self._compute):
                threads.shutdown(wait=False, cancel_futures=True)

    async def _until_stopped(self, batches: asyncio.Task) -> None:
        """Loads, then waits; without `batches` nobody would be answered, so its end is an error."""
        stopped = asyncio.create_task(self._stop.wait())
        loaded = asyncio.create_task(self.slot.load())
        try:
            await asyncio.wait({stopped, loaded}, return_when=asyncio.FIRST_COMPLETED)
            if loaded.done():
                loaded.result()
                self.metrics.ready.set(not self.draining)
                await asyncio.wait({stopped, batches}, return_when=asyncio.FIRST_COMPLETED)
            if batches.done():
                batches.result()
        finally:
            stopped.cancel()
            loaded.cancel()

    async def _drain(self) -> bool:
        try:
            async with asyncio.timeout(self.options.drain_timeout):
                while busy := sum(session.answering for session in self._sessions):
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            _log.error("stopped with %d requests unanswered", busy)
            return False
        return True

    async def _session(self, websocket: ServerConnection) -> None:
        session = Session(websocket, self)
        self._sessions.add(session)
        self.metrics.clients.set(self.clients)
        _log.info("%s connected; clients: %d", websocket.remote_address, self.clients)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            self.metrics.clients.set(self.clients)
            _log.info("%s left; clients: %d", websocket.remote_address, self.clients)
