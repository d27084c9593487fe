"""Asks a policy server for actions: one observation out, one chunk of actions back.

with PolicyClient("ws://127.0.0.1:8000", robot="libero") as client:
    actions = client.infer({"image": ..., "wrist_image": ..., "state": ..., "instruction": ...})
"""

from __future__ import annotations

import random
import socket
import ssl as tls
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from semanticvla_jax.client import wire
from semanticvla_jax.client.errors import ServingError

_TOO_LARGE = 1009  # websocket close code


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
      actions: f32[K, A] in the controller's units; row i is for i control steps after the
        observation.
      policy: the checkpoint that acted; changes when the server swaps it.
      timing: the server's milliseconds: `infer_ms`, `queue_ms`, ...
      accelerated: of an accelerated policy: `query`, how many of the episode were answered;
        `by_model`, whether the model was asked; `tokens`, image tokens that got through it.
    """

    actions: np.ndarray
    policy: str
    timing: Mapping[str, float]
    accelerated: Mapping[str, Any] = field(default_factory=dict)


class PolicyClient:
    """One connection to a policy server, opened again whenever it is lost. For one thread.

    A request is a pure question, so it is sent again after a reconnection, but never later than
    `timeout` after it was asked: actions are at most that old.

    Attributes:
      metadata: what the server says about robot, cameras, state, actions and checkpoint.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        robot: str | None = None,
        timeout: float = 5.0,
        connect_timeout: float = 60.0,
        ssl: tls.SSLContext | None = None,
        delays: Callable[[], Iterator[float]] | None = None,
    ):
        """Connects, and waits until the server is ready.

        Args:
          url: ws://HOST:PORT, or wss:// with TLS.
          api_key: sent in the `Authorization` header.
          robot: the robot one has; another one on the server is an error.
          timeout: seconds from a question to its answer, reconnections included.
          connect_timeout: seconds for the first connection; a server that loads keeps it waiting.
          ssl: certificates to trust, for wss://; the system's by default.
          delays: between attempts to connect, in seconds; doubling from 0.05 to 2 by default.

        Raises:
          ServingError: "unauthorized", "unavailable", "unknown_robot", ...
        """
        self.url, self.robot, self.timeout = url, robot, timeout
        self._headers = {"Authorization": f"Api-Key {api_key}"} if api_key else None
        self._ssl, self._delays = ssl, delays or doubling_delays
        self._connection: ClientConnection | None = None
        self._begins = True
        self.metadata: dict[str, Any] = {}
        self._until(time.monotonic() + connect_timeout, self._open)

    @property
    def chunk(self) -> int:
        """K, actions per answer."""
        return self.metadata["chunk"]

    @property
    def camera_size(self) -> int:
        """Pixels of the square images the policy was trained on."""
        return self.metadata["camera_size"]

    def start_episode(self) -> None:
        """Says with the next question that an episode begins, which accelerated policies need.

        They also forget the last one when the connection was lost, or the instruction changes.
        """
        self._begins = True

    def infer(self, observation: Mapping[str, Any]) -> np.ndarray:
        """One observation -> f32[K, A] in the controller's units; see `query`."""
        return self.query(observation).actions

    def query(self, observation: Mapping[str, Any]) -> Answer:
        """Asks, reconnecting if need be.

        Args:
          observation: uint8[H, W, 3] per camera, `state` f32[S] raw, and `instruction`.

        Raises:
          ServingError: the server refused the request, or did not answer in time. The connection
            is usable afterwards.
          TypeError: the observation holds something other than arrays, numbers and strings.
        """
        message = wire.encode({**observation, "reset": True} if self._begins else {**observation})
        reply = self._until(
            time.monotonic() + self.timeout, lambda deadline: self._exchange(message, deadline)
        )
        actions = reply.get("actions") if isinstance(reply, dict) else None
        if not isinstance(actions, np.ndarray):
            raise ServingError("unknown", "an answer without actions", found=reply)
        self._begins = False
        return Answer(
            actions.copy(),
            str(reply.get("policy", "")),
            reply.get("server_timing", {}),
            reply.get("accelerated", {}),
        )

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _until(self, deadline: float, attempt: Callable[[float], Any]) -> Any:
        """`attempt(deadline)`, again after each lost connection, until success or the deadline."""
        delays, problem = self._delays(), None
        while True:
            try:
                return attempt(deadline)
            except (OSError, WebSocketException) as error:
                self._abandon()
                if problem is None or not isinstance(error, TimeoutError):
                    problem = _diagnose(error)
            if not problem.retryable:
                raise problem
            delay = next(delays)
            if time.monotonic() + delay >= deadline:
                raise problem
            time.sleep(delay)

    def _exchange(self, message: bytes, deadline: float) -> Any:
        if self._connection is None:
            self._open(deadline)
        self._connection.send(message)
        return self._receive(deadline)

    def _receive(self, deadline: float) -> Any:
        reply = self._connection.recv(timeout=max(0.0, deadline - time.monotonic()))
        if isinstance(reply, str):
            raise ServingError.from_text(reply)
        try:
            return wire.decode(reply)
        except wire.WireError as error:
            raise ServingError("unknown", f"an answer that is no message: {error}") from None

    def _open(self, deadline: float) -> None:
        remaining = max(0.01, deadline - time.monotonic())
        self._connection = connect(
            self.url,
            sock=_connect_socket(self.url, remaining, send_limit=self.timeout),
            ssl=self._ssl,
            additional_headers=self._headers,
            compression=None,
            max_size=2**24,
            open_timeout=remaining,
            close_timeout=1,
            legacy=True,
        )
        metadata = self._receive(deadline)
        self.metadata = metadata if isinstance(metadata, dict) else {}
        served = self.metadata.get("robot", self.robot)
        if self.robot not in (None, served):
            self.close()
            raise ServingError(
                "unknown_robot",
                f"the policy at {self.url} acts for another robot",
                found=served,
                expected=self.robot,
                fix="ask another server",
            )

    def _abandon(self) -> None:
        """Drops the connection without waiting: a late answer must not meet the next question."""
        if self._connection is not None:
            self._connection.close_socket()
            self._connection = None


def doubling_delays(first: float = 0.05, most: float = 2.0) -> Iterator[float]:
    """Seconds between attempts: doubled each time, each drawn from the upper half of its range."""
    while True:
        yield first * random.uniform(0.5, 1)
        first = min(2 * first, most)


def _connect_socket(url: str, timeout: float, send_limit: float) -> socket.socket:
    """A socket whose sends time out: websockets' threaded client does not limit them."""
    parts = urlsplit(url)
    port = parts.port or {"ws": 80, "wss": 443}.get(parts.scheme)
    connection = socket.create_connection((parts.hostname, port), timeout)
    connection.settimeout(None)
    seconds, fraction = divmod(send_limit, 1)
    limit = struct.pack("@ll", int(seconds), int(1e6 * fraction))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    return connection


def _diagnose(error: Exception) -> ServingError:
    if isinstance(error, TimeoutError):
        return ServingError("timeout", "no answer in time")
    if isinstance(error, tls.SSLCertVerificationError):
        fix = "pass an ssl context that trusts the server's certificate"
        return ServingError("untrusted", "TLS certificate", found=error.verify_message, fix=fix)
    if isinstance(error, InvalidStatus):
        status, body = error.response.status_code, bytes(error.response.body or b"")
        told = ServingError.from_text(body.decode(errors="replace"))
        if told.code != "unknown":
            return told
        code = "unavailable" if status >= 500 else "refused"
        return ServingError(code, f"the server answered HTTP {status}", found=told.message)
    if isinstance(error, ConnectionClosed) and _TOO_LARGE in (
        error.rcvd and error.rcvd.code,
        error.sent and error.sent.code,
    ):
        return ServingError(
            "too_large",
            "the message is larger than the server takes",
            fix="send smaller images, or start the server with a larger --max_message",
        )
    return ServingError("connection_lost", f"{type(error).__name__}: {error}")
