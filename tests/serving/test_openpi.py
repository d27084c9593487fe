"""The published openpi-client, unmodified, in an environment of its own: it wants NumPy 1."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semanticvla_jax.client import wire
from tests.serving.running import observation, running

ROBOT = Path(__file__).with_name("openpi_robot.py")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def openpi_python(tmp_path_factory) -> str:
    """The interpreter of an environment that holds openpi-client."""
    place = tmp_path_factory.mktemp("openpi") / "environment"
    python = str(place / "bin" / "python")
    packages = ("openpi-client==0.1.2", "typing-extensions")  # it imports, but does not declare, it
    steps = (
        [sys.executable, "-m", "venv", str(place)],
        [python, "-m", "pip", "install", "-q", *packages],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no environment with openpi-client: {done.stderr.strip()[-300:]}")
    return python


class OpenpiRobot:
    """Lets the other environment's client ask; observations and answers travel through pipes."""

    def __init__(self, process: subprocess.Popen):
        self._process = process
        self.metadata = self._read()

    def infer(self, observation: dict[str, Any]) -> dict[str, Any]:
        data = wire.encode(observation)
        self._process.stdin.write(len(data).to_bytes(4, "little") + data)
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        header = self._process.stdout.read(4)
        if not header:
            raise ConnectionError(self._process.stderr.read().decode())
        return wire.decode(self._process.stdout.read(int.from_bytes(header, "little")))


@contextlib.contextmanager
def openpi_robot(python: str, *arguments: str) -> Iterator[OpenpiRobot]:
    pipe = subprocess.PIPE
    command = [python, "-I", str(ROBOT), *arguments]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield OpenpiRobot(process)
        finally:
            process.stdin.close()
            process.wait(30)


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
