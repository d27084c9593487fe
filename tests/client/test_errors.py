"""Errors on the wire: ours with all their parts, and any other server's text."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from semanticvla_jax.client import wire
from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.client.policy_client import PolicyClient, doubling_delays


def test_an_error_comes_back_whole():
    error = ServingError("busy", "queue", found=9, expected="fewer", fix="wait", retry_after=0.5)
    again = ServingError.from_text(error.to_json())
    assert vars(again) == vars(error)
    assert str(again) == "busy: queue: found 9, expected fewer. Fix: wait"
    assert again.retryable and not ServingError("bad_message", "x").retryable


def test_parts_are_short():
    told = json.loads(ServingError("bad_message", "m" * 999, found="f" * 10**6).to_json())["error"]
    assert len(told["message"]) == len(told["found"]) == 300


@pytest.mark.parametrize(
    "text",
    ["Traceback (most recent call last): ...", "{}", "[]", '{"error": 3}', '{"error": {"code": 1}}',
     '{"error": {"code": "a", "message": "b", "made up": 1}}', ""],
)  # fmt: skip
def test_text_of_another_server(text):
    error = ServingError.from_text(text)
    assert (error.code, error.message) == ("unknown", text) and not error.retryable


def test_delays_double_up_to_a_limit():
    delays = doubling_delays(0.1, most=0.5)
    for most in (0.1, 0.2, 0.4, 0.5, 0.5):
        assert most / 2 <= next(delays) <= most


@contextmanager
def openpi_server():
    """Behaves as openpi's own: metadata first, a traceback and close code 1011 on errors."""

    def handle(websocket):
        websocket.send(wire.encode({"reset_pose": [0.0]}))
        try:
            for message in websocket:
                observation = wire.decode(message)
                if "state" not in observation:
                    websocket.send("Traceback (most recent call last):\nKeyError: 'state'")
                    websocket.close(1011, "Internal server error")
                    return
                actions = np.ones((10, 7)) * observation["state"][0]
                websocket.send(
                    wire.encode({"actions": actions, "server_timing": {"infer_ms": 1.0}})
                )
        except ConnectionClosed:
            pass

    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(10)


def test_the_client_works_with_openpis_server():
    with openpi_server() as url, PolicyClient(url, robot="libero") as client:
        assert client.metadata == {"reset_pose": [0.0]}
        answer = client.query({"state": np.array([2.0])})
        assert answer.actions.shape == (10, 7) and answer.timing == {"infer_ms": 1.0}
        answer.actions[:] = 0  # it is the caller's
        with pytest.raises(ServingError, match="(?s)unknown: Traceback.*KeyError") as error:
            client.query({})
        assert error.value.code == "unknown"
        assert client.infer({"state": np.array([3.0])})[0, 0] == 3  # connects again
