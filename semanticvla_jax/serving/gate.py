"""Who may connect, and the pages beside the websocket: /healthz and /metrics."""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from semanticvla_jax.client.errors import ServingError

if TYPE_CHECKING:
    from semanticvla_jax.serving.server import PolicyServer

_JSON = "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Gate:
    """Looks at each HTTP request before a websocket opens."""

    def __init__(self, server: PolicyServer):
        self._server = server

    def __call__(self, connection: ServerConnection, request: Request) -> Response | None:
        """None lets the websocket open; websockets itself checks `Origin` and the rest then."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return self._health(connection, request)
        if not self._has_key(request):
            return self._refuse(
                connection,
                401,
                ServingError(
                    "unauthorized",
                    "API key",
                    found="none, or a wrong one",
                    expected="the header 'Authorization: Api-Key KEY'",
                    fix="pass api_key to the client",
                ),
            )
        if path == "/metrics":
            return _page(connection, 200, self._server.metrics.text(), _PROMETHEUS)
        if path != "/":
            text = "/, /healthz or /metrics"
            missing = ServingError("not_found", "path", found=path, expected=text)
            return self._refuse(connection, 404, missing)
        if self._server.draining:
            stopping = ServingError("draining", "the server is stopping", fix="ask another server")
            return self._refuse(connection, 503, stopping)
        if self._server.clients >= self._server.options.clients:
            return self._refuse(
                connection,
                503,
                ServingError(
                    "busy",
                    "too many connections",
                    expected=f"at most {self._server.options.clients}",
                    fix="close some, or start the server with a larger --clients",
                ),
            )
        return None

    def _health(self, connection: ServerConnection, request: Request) -> Response:
        """Everybody learns whether the server is ready; those with a key, of what policy."""
        server, slot = self._server, self._server.slot
        ready = slot.current is not None and not server.draining
        state = {"status": "draining" if server.draining else "ready" if ready else "starting"}
        if self._has_key(request):
            state["policy"] = slot.current.label if slot.current else None
            state["last_load"] = slot.last_load
        return _page(connection, 200 if ready else 503, json.dumps(state) + "\n", _JSON)

    def _has_key(self, request: Request) -> bool:
        if not self._server.options.keys:
            return True
        given = request.headers.get_all("Authorization")
        scheme, _, key = (given[0] if len(given) == 1 else "").partition(" ")
        matches = [
            hmac.compare_digest(key.encode(errors="replace"), right.encode())
            for right in self._server.options.keys
        ]
        return scheme.lower() == "api-key" and any(matches)

    def _refuse(self, connection: ServerConnection, status: int, error: ServingError) -> Response:
        self._server.metrics.refused.labels(error.code).inc()
        return _page(connection, status, error.to_json() + "\n", _JSON)


def _page(connection: ServerConnection, status: int, text: str, kind: str) -> Response:
    response = connection.respond(status, text)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = kind
    return response
