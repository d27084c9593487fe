"""From the first load to the last answer: warm before ready, swaps, drains, reconnection."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from semanticvla_jax.client import wire
from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.client.policy_client import PolicyClient
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import ALOHA
from tests.serving.running import PATIENCE, FakePolicy, observation, once, running, until
from tests.serving.test_limits import get


def test_it_is_ready_when_every_batch_size_is_compiled():
    policy = FakePolicy()
    policy.gate.clear()
    with running(policy, ready=False, batch_sizes=(1, 2)) as server:
        until(lambda: policy.entered == 1)
        status, text = get(f"{server.page}/healthz")
        assert status == 503 and json.loads(text)["status"] == "starting"
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(server.client)  # gets its metadata when there is a policy
            until(lambda: server.server.clients == 1)
            assert not waiting.done()
            policy.gate.set()
            with waiting.result(PATIENCE) as client:
                assert policy.batches == [1, 2]
                client.infer(observation())
        assert get(f"{server.page}/healthz")[0] == 200


def test_a_policy_that_cannot_be_loaded_ends_the_server():
    def load():
        raise InputError("checkpoint", found="nothing", expected="one", fix="train")

    with running(load=load, ready=False) as server:
        server.thread.join(PATIENCE)
        assert isinstance(server.result[0], InputError)


def test_a_server_that_can_answer_nobody_ends(monkeypatch):
    """Better a supervisor restarts it than that robots wait."""
    with running(drain_timeout=0.1, send_timeout=0.1, infer_timeout=0.1) as server:
        monkeypatch.setattr(server.server.batcher, "_take", lambda: 1 / 0)
        with pytest.raises(ServingError):
            server.client(timeout=1.0).infer(observation())
        server.thread.join(PATIENCE)
        assert isinstance(server.result[0], ZeroDivisionError)


def test_a_load_can_be_interrupted():
    release = threading.Event()
    with running(load=release.wait, ready=False) as server:
        assert server.stop() is True
        release.set()


def test_draining_answers_what_was_asked_and_takes_nothing_new():
    policy = FakePolicy()
    with running(policy, batch_sizes=(1,)) as server:
        asking = [connect(server.url) for _ in range(3)]
        for websocket in asking:
            websocket.recv(PATIENCE)
        idle = server.client()
        policy.gate.clear()
        begun = policy.entered
        for value, websocket in enumerate(asking):
            websocket.send(wire.encode(observation(value)))
        until(lambda: policy.entered == begun + 1 and server.server.batcher.waiting == 2)
        server.call(server.server.stop)
        until(lambda: server.server.draining)
        assert get(f"{server.page}/healthz")[0] == 503
        with pytest.raises(ServingError, match="draining"):
            server.client(delays=once)
        with pytest.raises(ServingError, match="draining"):
            idle.infer(observation())
        policy.gate.set()
        for value, websocket in enumerate(asking):
            assert wire.decode(websocket.recv(PATIENCE))["actions"][0, 0] == value
            with pytest.raises(ConnectionClosed, match="1001"):
                websocket.recv(PATIENCE)
        assert server.stop() is True
        idle.close()


def test_a_drain_does_not_last_for_ever():
    policy = FakePolicy()
    with running(policy, drain_timeout=0.2, send_timeout=0.2) as server:
        policy.gate.clear()
        with connect(server.url) as websocket:
            websocket.recv(PATIENCE)
            websocket.send(wire.encode(observation()))
            until(lambda: policy.entered > 4)
            assert server.stop() is False
        policy.gate.set()


def test_a_swap_happens_between_answers():
    old, new = FakePolicy(label="run@1"), FakePolicy(label="run@2", offset=100.0)
    policies = [old, new]
    new.gate.clear()
    with running(load=lambda: policies.pop(0)) as server, server.client() as client:
        server.call(server.server.reload)
        until(lambda: new.entered == 1)  # it compiles, and the old one goes on
        answer = client.query(observation())
        assert (answer.policy, answer.actions[0, 0]) == ("run@1", 0)
        server.call(server.server.reload)  # one load at a time
        new.gate.set()
        until(lambda: server.server.slot.last_load == "serves run@2")
        answer = client.query(observation())
        assert (answer.policy, answer.actions[0, 0]) == ("run@2", 100)
        assert json.loads(get(f"{server.page}/healthz")[1])["policy"] == "run@2"
        assert 'policy_info{policy="run@1"}' not in get(f"{server.page}/metrics")[1]
        assert not policies


def crashing() -> FakePolicy:
    raise RuntimeError("half a checkpoint")


@pytest.mark.parametrize(
    "bad, words",
    [
        (crashing, "half a checkpoint"),
        (lambda: FakePolicy(robot=ALOHA), "what clients were told"),
        (lambda: FakePolicy(chunk=4), "chunk 4"),
        (lambda: FakePolicy(label=None), "NoneType"),
    ],
    ids=["unreadable", "another robot", "another chunk", "broken"],
)
def test_a_bad_policy_leaves_the_old_one_serving(bad, words):
    loads = [FakePolicy, bad, lambda: FakePolicy(label="run@3")]
    with running(load=lambda: loads.pop(0)()) as server, server.client() as client:
        server.call(server.server.reload)
        until(lambda: server.server.slot.last_load.startswith("failed"))
        assert words in json.loads(get(f"{server.page}/healthz")[1])["last_load"]
        assert client.query(observation()).policy == "fake@1"
        assert get(f"{server.page}/healthz")[0] == 200
        assert 'loads_total{outcome="failed"} 1.0' in get(f"{server.page}/metrics")[1]
        server.call(server.server.reload)
        until(lambda: server.server.slot.last_load == "serves run@3")
        assert client.query(observation()).policy == "run@3"


def test_clients_reconnect_when_the_server_comes_back():
    with running() as first:
        port = first.server.port
        client = first.client(delays=lambda: iter([0.01] * 10_000))
        client.infer(observation())
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(client.infer, observation(5.0))
        with running(port=port):
            assert waiting.result(PATIENCE)[0, 0] == 5
        client.timeout = 0.1
        with pytest.raises(ServingError, match="connection_lost") as lost:
            client.infer(observation())
        assert lost.value.retryable


def test_a_late_answer_never_meets_the_next_question():
    policy = FakePolicy()
    with running(policy) as server, server.client() as client:
        client.timeout = 0.1
        policy.gate.clear()
        with pytest.raises(ServingError, match="timeout"):
            client.infer(observation(1.0))
        policy.gate.set()
        client.timeout = PATIENCE
        assert client.infer(observation(2.0))[0, 0] == 2


def test_no_server_at_all():
    with pytest.raises(ServingError, match="connection_lost.*refused"):
        PolicyClient("ws://127.0.0.1:9", delays=once)
