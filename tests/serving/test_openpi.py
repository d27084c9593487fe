"""The published openpi-client, unmodified, in an environment of its own: it wants NumPy 1."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.serving.openpi import openpi_robot
from tests.serving.running import observation, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_metadata_actions_and_errors(openpi_python):
    with running() as server:
        port = str(server.server.port)
        with openpi_robot(openpi_python, "localhost", port) as robot:
            assert robot.metadata == server.client().metadata
            for value in (1.0, 2.0):
                answer = robot.infer(observation(value))
                np.testing.assert_array_equal(answer["actions"][:, 0], value + np.arange(8))
                assert answer["actions"].dtype == np.float32
                assert {"infer_ms", "queue_ms"} <= set(answer["server_timing"])
            raised = robot.infer(observation(state=np.zeros(7)))["raised"]
            error = json.loads(raised.partition("\n")[2])["error"]
            assert error["code"] == "bad_observation" and "Traceback" not in raised
            assert "actions" in robot.infer(observation())  # the connection goes on


def test_the_api_key(openpi_python):
    with running(keys=("right",)) as server:
        port = str(server.server.port)
        with openpi_robot(openpi_python, "ws://localhost", port, "right") as robot:
            assert "actions" in robot.infer(observation())
        with pytest.raises(ConnectionError, match="401"):
            with openpi_robot(openpi_python, "localhost", port, "wrong"):
                pass
