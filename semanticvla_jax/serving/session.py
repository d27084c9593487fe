"""One client's conversation: what the server serves, then one question and one answer at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from semanticvla_jax.client import wire
from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.errors import InputError
from semanticvla_jax.serving.description import describe
from semanticvla_jax.serving.observations import read_observation
from semanticvla_jax.serving.rate import TokenBucket
from semanticvla_jax.serving.served_policy import Acted, BatchedPolicy, Row

if TYPE_CHECKING:
    from semanticvla_jax.serving.server import PolicyServer

_log = logging.getLogger(__name__)
_LONGEST_PENALTY = 1.0  # s before a client that asks too often is told so


class _Gone(Exception):
    """The client is gone, or was sent away."""


class Session:
    """Answers one connection until it closes; bad requests are answered, too, and keep it open."""

    def __init__(self, websocket: ServerConnection, server: PolicyServer):
        self._websocket, self._server = websocket, server
        self._bucket = TokenBucket(server.options.rate)
        self._previous: float | None = None  # seconds the previous answer took, sending included
        self._remembered: Any = None  # what the policy wants to know again at the next request
        self.answering = False

    async def run(self) -> None:
        """Returns when the connection is closed, by whomever."""
        self._gone = asyncio.create_task(self._websocket.wait_closed())
        try:
            await self._while_connected(self._server.slot.filled.wait())
            await self._send(wire.encode(describe(self._server.slot.current)))
            while True:
                await self._serve_one(await self._receive())
        except ConnectionClosed as closed:
            if closed.sent and closed.sent.code == CloseCode.MESSAGE_TOO_BIG:
                self._server.metrics.requests.labels("too_large").inc()
        except _Gone:
            pass
        finally:
            self._gone.cancel()

    async def _serve_one(self, message: bytes | str) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.answering = True
        try:
            answer, outcome = await self._answer(message)
            self._server.metrics.request_seconds.observe(loop.time() - began)
            await self._send(answer)
            self._server.metrics.requests.labels(outcome).inc()
        finally:
            self.answering = False
        self._previous = loop.time() - began

    async def _answer(self, message: bytes | str) -> tuple[bytes | str, str]:
        """The answer and its outcome, a word for the metrics."""
        try:
            return await self._infer(message), "ok"
        except ServingError as error:
            problem = error
        except InputError as error:
            problem = ServingError(
                "bad_observation",
                error.what,
                found=error.found,
                expected=error.expected,
                fix=error.fix,
            )
        except TimeoutError:
            problem = ServingError("timeout", "the policy took too long", fix="ask again")
        except _Gone:
            raise
        except Exception:
            _log.exception("a request failed")
            problem = ServingError("internal", "the server failed; its log says why")
        return problem.to_json(), problem.code

    async def _infer(self, message: bytes | str) -> bytes:
        server = self._server
        if server.draining:
            raise ServingError("draining", "the server is stopping", fix="ask another server")
        if wait := self._bucket.take():
            await self._while_connected(asyncio.sleep(min(wait, _LONGEST_PENALTY)))
            raise ServingError(
                "rate_limited",
                "too many requests",
                expected=f"at most {server.options.rate:g} per second",
                fix="ask less often",
                retry_after=wait,
            )
        if isinstance(message, str):
            raise ServingError(
                "bad_message", "a text message", expected="a binary one", fix="send msgpack"
            )
        policy, remembered = server.slot.current, self._remembered
        async with asyncio.timeout(server.options.infer_timeout):
            computed = await self._while_connected(
                server.batcher.submit(policy, lambda: _prepare(policy, message, remembered))
            )
        self._remembered = computed.remembered
        timing = {"infer_ms": 1e3 * computed.inference, "queue_ms": 1e3 * computed.queued}
        if self._previous is not None:
            timing["prev_total_ms"] = 1e3 * self._previous
        answer = {"actions": computed.actions, "policy": policy.label, "server_timing": timing}
        return wire.encode({**answer, **computed.told})

    async def _receive(self) -> bytes | str:
        seconds = self._server.options.idle_timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._websocket.recv()
        except TimeoutError:
            await self._websocket.close(CloseCode.NORMAL_CLOSURE, f"idle for {seconds:g} s")
            raise _Gone from None

    async def _send(self, message: bytes | str) -> None:
        try:
            async with asyncio.timeout(self._server.options.send_timeout):
                await self._websocket.send(message)
        except TimeoutError:
            self._websocket.transport.abort()
            raise _Gone from None

    async def _while_connected(self, work: Coroutine[Any, Any, Any]) -> Any:
        """`work`'s result; the work ends with the connection.

        Raises:
          _Gone: the client is.
        """
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task, self._gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise _Gone
            return task.result()
        finally:
            task.cancel()


def _prepare(policy: BatchedPolicy, message: bytes, remembered: Any) -> Row | Acted:
    return policy.prepare(read_observation(message, policy.policy.robot), remembered)
