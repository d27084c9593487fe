"""Keys, certificates, origins, sizes, rates and timeouts."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import urllib.error
import urllib.request

import numpy as np
import pytest
import trustme
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from semanticvla_jax.client import wire
from semanticvla_jax.client.errors import ServingError
from tests.serving.running import PATIENCE, observation, once, running, until


def get(url: str, key: str | None = None, **options) -> tuple[int, str]:
    request = urllib.request.Request(
        url, headers={"Authorization": f"Api-Key {key}"} if key else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE, **options) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_keys():
    with running(keys=("right", "other")) as server:
        for key in (None, "wrong", "righ", "rightt", "", "r\u00efght"):
            with pytest.raises(ServingError, match="unauthorized.*Api-Key KEY"):
                server.client(api_key=key)
        for key in ("right", "other"):
            with server.client(api_key=key) as client:
                client.infer(observation())
        assert get(f"{server.page}/metrics")[0] == 401
        assert get(f"{server.page}/metrics", "right")[0] == 200
        status, text = get(f"{server.page}/healthz")
        assert status == 200 and json.loads(text) == {"status": "ready"}
        assert json.loads(get(f"{server.page}/healthz", "right")[1])["policy"] == "fake@1"


def test_pages():
    with running() as server:
        with server.client() as client:
            client.infer(observation())
            with contextlib.suppress(ServingError):
                client.infer({})
            text = get(f"{server.page}/metrics")[1]
        assert 'semanticvla_requests_total{outcome="ok"} 1.0' in text
        assert 'semanticvla_requests_total{outcome="bad_observation"} 1.0' in text
        assert 'semanticvla_policy_info{policy="fake@1"} 1.0' in text
        assert "semanticvla_clients 1.0" in text and "semanticvla_ready 1.0" in text
        assert get(f"{server.page}/elsewhere")[0] == 404
        assert get(f"{server.page}/")[0] == 426  # a browser: upgrade required


def test_tls():
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(served)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with running(tls=served) as server:
        assert server.url.startswith("wss://")
        with server.client(ssl=trusting) as client:
            np.testing.assert_array_equal(client.infer(observation(1.0))[0], np.ones(7))
        assert get(f"{server.page}/healthz", context=trusting)[0] == 200
        with pytest.raises(ServingError, match="untrusted"):
            server.client()
    with running(tls=served, open_timeout=0.2) as server:
        with socket.create_connection(("localhost", server.server.port)) as silent:
            silent.settimeout(PATIENCE)
            assert silent.recv(1) == b""  # cut off: no TLS handshake


def test_web_pages_stay_out_unless_let_in():
    with running(origins=("https://lab.example",)) as server:
        with pytest.raises(InvalidStatus, match="403"):
            connect(server.url, origin="https://evil.example")
        with connect(server.url, origin="https://lab.example") as page:
            page.recv(PATIENCE)


def test_messages_too_large():
    with running(message_bytes=10_000) as server, server.client() as client:
        with pytest.raises(ServingError, match="too_large"):
            client.infer(observation(size=64))
        client.infer(observation())  # connects again
        outcomes = server.server.metrics.requests
        until(lambda: outcomes.labels("too_large")._value.get() == 1)


def test_requests_too_often():
    with running(rate=1.0) as server, server.client() as client:
        client.infer(observation())
        with pytest.raises(ServingError, match="rate_limited") as limited:
            client.infer(observation())
        assert limited.value.retryable and 0 < limited.value.retry_after <= 1
        client.infer(observation())  # the error came when there was a token again


def test_connections_too_many():
    with running(clients=1) as server:
        with server.client():
            with pytest.raises(ServingError, match="busy.*too many connections"):
                server.client(delays=once)
        server.client().close()


def test_a_handshake_that_never_ends():
    with running(open_timeout=0.2) as server:
        with socket.create_connection(("localhost", server.server.port)) as slow:
            slow.settimeout(PATIENCE)
            slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            assert slow.recv(1) == b""


def test_a_client_that_says_nothing():
    with running(idle_timeout=0.2) as server, connect(server.url) as idle:
        idle.recv(PATIENCE)
        with pytest.raises(ConnectionClosed, match="idle for 0.2 s"):
            idle.recv(PATIENCE)


def test_a_client_that_answers_no_ping():
    """As one whose cable is pulled: TCP stays open and nothing comes."""
    with running(ping_interval=0.1, ping_timeout=0.1, send_timeout=0.2) as server:
        silent = handshaken(server)
        until(lambda: server.server.clients == 1)
        until(lambda: server.server.clients == 0)
        silent.close()


def test_a_client_that_never_reads():
    with running(send_timeout=0.2, rate=1e6, ping_interval=PATIENCE) as server:
        for listener in server.server.sockets:  # accepted sockets have as small a buffer
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        deaf = handshaken(server, buffer=4096)
        deaf.settimeout(0.05)
        with contextlib.suppress(OSError):
            for _ in range(100_000):  # each answered, until no answer fits any more
                deaf.sendall(masked(wire.encode({})))
        until(lambda: server.server.clients == 0)
        with server.client() as client:
            client.infer(observation())
        deaf.close()


def test_a_policy_that_hangs():
    with running(infer_timeout=1.0) as server, server.client() as client:
        policy = server.server.slot.current.policy
        policy.gate.clear()
        with pytest.raises(ServingError, match="timeout.*too long"):
            client.infer(observation())
        policy.gate.set()
        client.infer(observation())


def handshaken(server, buffer: int | None = None) -> socket.socket:
    """A bare TCP socket on which a websocket has been opened; it reads nothing."""
    bare = socket.socket()
    if buffer:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    bare.connect(("localhost", server.server.port))
    lines = (
        "GET / HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
    )
    bare.sendall("\r\n".join([*lines, "", ""]).encode())
    assert bare.recv(12) == b"HTTP/1.1 101"
    return bare


def masked(message: bytes) -> bytes:
    """A binary frame of at most 125 bytes, masked with zeros."""
    return bytes([0x82, 0x80 | len(message), 0, 0, 0, 0]) + message
