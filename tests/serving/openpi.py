"""Asks through openpi-client in another environment; `openpi_robot.py` runs there."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semanticvla_jax.client import wire

ROBOT = Path(__file__).with_name("openpi_robot.py")


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
