"""Damaged and hostile messages against a live server, while a good client goes on."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
from collections import Counter

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from semanticvla_jax.client import wire
from tests.serving.running import PATIENCE, Running, observation, running, until
from tests.serving.test_limits import handshaken

HOSTILE = (
    b"\x91" * 5000,
    b"\xdd\xff\xff\xff\xff",
    b"\xdc\x03\xff" + (b"\xdc\x03\xff" + b"\x80" * 1023) * 60,
    wire.encode({"image": np.zeros((1, 4000, 3), np.uint8)}),
    wire.encode(observation(size=8) | {"state": np.zeros(100_000)}),
    wire.encode(observation(size=8) | {"instruction": "x" * 100_000}),
    wire.encode({f"key{number}": number for number in range(1000)}),
)


def mutated(good: bytes, rng: random.Random) -> bytes:
    """A message damaged in one of the ways that break parsers."""
    message = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 8))):
        # Most bytes are pixels: damage headers and names as often as those.
        place = rng.randrange(min(len(message), rng.choice((60, 400, 10**6))) or 1)
        kind = rng.randrange(5)
        if kind == 0:
            message[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del message[place : place + rng.randrange(1, 40)]
        elif kind == 2:
            message[place:place] = rng.randbytes(rng.randrange(1, 20))
        elif kind == 3:
            del message[place:]
        else:
            message[place:place] = message[place : place + rng.randrange(100)]
    return bytes(message)


def messages(count: int, seed: int = 0):
    """Mutations of a good message, hostile ones and noise."""
    rng = random.Random(seed)
    good = wire.encode(observation(1.0, size=8))
    for number in range(count):
        if number % 10 == 0:
            yield rng.choice(HOSTILE)
        elif number % 10 == 1:
            yield rng.randbytes(rng.randrange(300))
        elif number % 10 == 2:
            yield "a text message \N{ROBOT FACE}"
        else:
            yield mutated(good, rng)


@contextlib.contextmanager
def good_client(server: Running):
    """Asks without a pause in another thread; every answer must be right."""
    done, problems, answers = threading.Event(), [], []

    def ask():
        try:
            with server.client() as client:
                while not done.is_set():
                    value = float(len(answers) % 1000)
                    answers.append(client.infer(observation(value, size=8))[0, 0] == value)
        except Exception as error:
            problems.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        until(lambda: answers or problems)
        yield answers
    finally:
        done.set()
        thread.join(PATIENCE)
    assert not problems, problems
    assert all(answers)


def exchange(server: Running, everything) -> Counter:
    """Sends each message on its own turn; counts answers ("ok"), errors by code, and closings."""
    outcomes: Counter = Counter()
    websocket = None
    for message in everything:
        if websocket is None:
            websocket = connect(server.url, compression=None)
            websocket.recv(PATIENCE)
        try:
            websocket.send(message)
            reply = websocket.recv(PATIENCE)
        except ConnectionClosed as closed:
            outcomes[f"closed {closed.rcvd.code}"] += 1  # a closing handshake, not a cut
            websocket = None
            continue
        outcomes[json.loads(reply)["error"]["code"] if isinstance(reply, str) else "ok"] += 1
    websocket.close()
    return outcomes


@pytest.mark.parametrize(
    "count", [500, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_every_message_is_answered_or_closed_and_nobody_else_notices(count):
    with running(rate=1e6, message_bytes=700_000) as server:
        with good_client(server) as answers:
            outcomes = exchange(server, messages(count))
        assert server.stop() is True
    print(dict(outcomes), f"{len(answers)} good answers meanwhile")
    assert sum(outcomes.values()) == count
    assert set(outcomes) <= {"ok", "bad_message", "bad_observation", "not_finite", "closed 1009"}
    assert outcomes["bad_message"] > count / 10 and outcomes["bad_observation"] > count / 50


@pytest.mark.parametrize(
    "count", [30, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_bytes_that_are_no_websocket(count):
    """Noise instead of the handshake, and instead of frames: the connection ends, no more."""
    rng = random.Random(1)
    with running(send_timeout=0.5, rate=1e6) as server:
        with good_client(server):
            for number in range(count):
                if number % 2:
                    bare = socket.create_connection(("localhost", server.server.port))
                    noise = rng.choice((b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"")) + b"\xff\0"
                else:
                    bare = handshaken(server)
                    noise = rng.choice((b"\x83\x80", b"\xc2\xff", b"\x82\xff" + b"\xff" * 8))
                with bare:
                    bare.settimeout(PATIENCE)
                    with contextlib.suppress(ConnectionError):
                        bare.sendall(noise + rng.randbytes(rng.randrange(50)) + b"\r\n\r\n")
                        while bare.recv(4096):
                            pass
        assert server.stop() is True
