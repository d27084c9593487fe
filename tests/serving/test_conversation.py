"""A client and a server: what is told at connection, actions, and errors that say what to fix."""

from __future__ import annotations

import json

import numpy as np
import pytest
from websockets.sync.client import connect

from semanticvla_jax.client import wire
from semanticvla_jax.client.errors import ServingError
from tests.serving.running import PATIENCE, FakePolicy, observation, running, until


@pytest.fixture(scope="module")
def server():
    with running(FakePolicy(), rate=1e6) as server:
        yield server


@pytest.fixture
def client(server):
    with server.client(robot="libero") as client:
        yield client


def test_metadata_says_what_the_robot_needs(client):
    told = client.metadata
    assert told["policy"] == "fake@1"  # and no directory of the server
    assert [camera["name"] for camera in told["cameras"]] == ["image", "wrist_image"]
    assert told["cameras"][0]["height"] == told["cameras"][0]["width"] == client.camera_size == 16
    assert [state["name"] for state in told["state"]][:3] == ["x", "y", "z"]
    assert told["actions"][0] == {"name": "delta_x", "unit": "1 = 0.05 m"}
    assert (told["chunk"], told["control_rate"], told["grippers"]) == (8, 20.0, [6])
    assert client.chunk == 8 and told["absolute"] is False


def test_actions(client):
    actions = client.infer(observation(3.0))
    assert actions.shape == (8, 7) and actions.dtype == np.float32
    np.testing.assert_array_equal(actions[:, 0], 3 + np.arange(8))


def test_answers_say_who_acted_and_how_long_it_took(client):
    first, second = client.query(observation()), client.query(observation())
    assert first.policy == "fake@1"
    assert set(first.timing) == {"infer_ms", "queue_ms"}
    assert set(second.timing) == {"infer_ms", "queue_ms", "prev_total_ms"}
    assert second.timing["prev_total_ms"] >= first.timing["infer_ms"]


def test_the_names_of_openpi_are_understood(client):
    ours = observation(2.0)
    theirs = {
        "observation/image": ours["image"],
        "observation/wrist_image": ours["wrist_image"],
        "observation/state": ours["state"].astype(np.float64).tolist(),
        "prompt": "turn on the stove",
        "something else": 7,
    }
    np.testing.assert_array_equal(client.infer(theirs), client.infer(ours))


image = np.zeros((16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    "changes, code, words",
    [
        ({"state": np.zeros(7)}, "bad_observation", "float64[7], expected 8 finite numbers"),
        ({"state": np.full(8, np.nan)}, "bad_observation", "nan"),
        ({"state": np.full(8, 1e300)}, "bad_observation", "inf"),
        ({"state": [[1], [1, 2]]}, "bad_observation", "8 finite numbers"),
        ({"state": ["x"] * 8}, "bad_observation", "8 finite numbers"),
        ({"state": {"x": 1}}, "bad_observation", "dict, expected 8"),
        ({"state": None}, "bad_observation", "NoneType"),
        ({"image": image[..., 0]}, "bad_observation", "uint8[16, 16], expected uint8[H, W, 3]"),
        ({"image": image.astype(np.float32)}, "bad_observation", "float32[16, 16, 3]"),
        ({"image": image[:, :8]}, "bad_observation", "a square image"),
        ({"image": image[:4, :4]}, "bad_observation", "sides of 8 to 4096"),
        ({"image": np.zeros((8, 5000, 3), np.uint8)}, "bad_observation", "sides of 8 to 4096"),
        ({"wrist_image": "path.jpg"}, "bad_observation", "wrist_image: found str"),
        ({"instruction": 3}, "bad_observation", "instruction: found int"),
        ({"instruction": ["a"]}, "bad_observation", "instruction: found a list of 1"),
        ({"instruction": "x" * 501}, "bad_observation", "501 characters"),
        ({"robot": "aloha"}, "unknown_robot", "found aloha, expected libero"),
        ({"instruction": "crash while preparing"}, "internal", "log says why"),
        ({"state": -np.ones(8)}, "internal", "log says why"),
    ],
)
def test_bad_observations(client, changes, code, words):
    with pytest.raises(ServingError) as error:
        client.infer(observation(**changes))
    assert error.value.code == code and words in str(error.value)
    assert "secret" not in str(error.value) and "Traceback" not in str(error.value)
    assert not error.value.retryable
    client.infer(observation())  # the connection goes on


def test_missing_cameras_are_named(client):
    incomplete = observation()
    del incomplete["wrist_image"]
    with pytest.raises(ServingError, match=r"Fix: add \['wrist_image'\]"):
        client.infer(incomplete)


@pytest.mark.parametrize("message", [b"", b"\xc1", b"\xa1\xff", wire.encode([1]), "text", "{}"])
def test_messages_that_are_none(server, message):
    with connect(server.url) as websocket:
        websocket.recv(PATIENCE)
        websocket.send(message)
        error = json.loads(websocket.recv(PATIENCE))["error"]
        assert error["code"] in ("bad_message", "bad_observation") and error["fix"]
        websocket.send(wire.encode(observation()))
        assert isinstance(websocket.recv(PATIENCE), bytes)


def test_actions_that_are_not_finite_never_reach_a_robot(client):
    with pytest.raises(ServingError, match="not_finite"):
        client.infer(observation(value=3.4e38) | {"instruction": "x"})
    client.infer(observation())


def test_errors_never_quote_what_was_sent_at_length(client):
    with pytest.raises(ServingError) as error:
        client.infer({"k" * 300: 1, "l" * 300: 2})
    assert len(error.value.found) == 300


def test_another_robot_is_refused_by_the_client(server):
    with pytest.raises(ServingError, match="unknown_robot.*found libero, expected aloha"):
        server.client(robot="aloha")


def test_a_vanished_client_harms_nobody(server, client):
    policy = server.server.slot.current.policy
    policy.gate.clear()
    begun = policy.entered
    with connect(server.url) as leaving:
        leaving.recv(PATIENCE)
        leaving.send(wire.encode(observation()))
        until(lambda: policy.entered == begun + 1)
        with connect(server.url) as waiting:
            waiting.recv(PATIENCE)
            waiting.send(wire.encode(observation()))
            until(lambda: server.server.batcher.waiting == 1)
    before = len(policy.batches)
    policy.gate.set()
    client.infer(observation())
    assert policy.batches[before:] == [1, 1]  # nothing was computed for the one still waiting
