"""One model over two devices, which XLA simulates."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.inference.mesh import find_compiler


def test_two_devices_give_what_one_gives(finished_run, repository):
    flags = "--xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-m", "tests.inference.run_on_mesh", str(finished_run)],
        cwd=repository,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    precisions = json.loads(done.stdout.splitlines()[-1])
    assert list(precisions) == ["", "int8", "int4"]
    for found in precisions.values():
        assert found["difference"] < 1e-5 < found["spread"]
        assert found["devices"] == 2 and found["compiled"] == 0
        assert found["part"] == [found["whole"][0], found["whole"][1] // 2]


@pytest.mark.parametrize("text", ["tensor", "tensor=0", "data=2", "tensor=x"])
def test_bad_meshes(text):
    with pytest.raises(InputError, match="--mesh"):
        find_compiler(text)


def test_more_devices_than_there_are():
    with pytest.raises(InputError, match="devices of this machine"):
        find_compiler("tensor=4096")
