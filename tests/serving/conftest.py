"""An environment of its own for the published openpi-client."""

from __future__ import annotations

import subprocess
import sys

import pytest


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
