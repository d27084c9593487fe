"""Every limit of a policy server in one place; `semanticvla_jax.serve --help` says the same."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerOptions:
    """How a server listens and what it allows.

    The memory that messages can take is about `clients` x 2 x `message_bytes`.

    Attributes:
      host, port: where to listen; port 0 picks a free one.
      tls: certificates; None speaks plain ws://.
      keys: API keys, any of which opens; none: open to all who can reach the port.
      origins: values of the `Origin` header (web pages) to let in; robots send none.
      batch_sizes: batches that are compiled, ascending; a smaller batch is padded to the next.
      batch_wait: seconds for which the oldest request may wait for others to join its batch.
      queue: requests in preparation or waiting; further ones are told "busy".
      clients: connections at once.
      message_bytes: of one observation.
      rate: requests per second of one connection.
      open_timeout: seconds for the TLS handshake, and again for the HTTP one.
      idle_timeout: seconds without a complete message before a connection is closed.
      ping_interval, ping_timeout: seconds; a peer that does not answer a ping is gone.
      send_timeout: seconds for which a client may not read its answer.
      infer_timeout: seconds from a request to its answer.
      drain_timeout: seconds to finish what is under way when stopped.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tls: ssl.SSLContext | None = None
    keys: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8)
    batch_wait: float = 0.005
    queue: int = 64
    clients: int = 64
    message_bytes: int = 2**24
    rate: float = 100.0
    open_timeout: float = 5.0
    idle_timeout: float = 600.0
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    send_timeout: float = 10.0
    infer_timeout: float = 30.0
    drain_timeout: float = 30.0
