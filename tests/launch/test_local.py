"""Two processes of this machine train together, are stopped and continue."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from launch import local
from semanticvla_jax.training.metrics import read_metrics


@contextlib.contextmanager
def launched(repository, *flags: str):
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.local", "--processes", "2", "--", *flags],
        cwd=repository,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_processes_train_stop_and_continue(repository, tiny_dataset, tmp_path):
    flags = (f"--config=tests/launch/smallest.py:{tiny_dataset}", f"--workdir={tmp_path}")
    metrics = tmp_path / "metrics.jsonl"
    with launched(repository, *flags, "--stopped_status=143") as process:
        deadline = time.monotonic() + 600
        while not (metrics.exists() and read_metrics(metrics)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 143, output
    assert output.count("; the same command continues") == 2
    stopped = read_metrics(metrics)[-1]["step"]
    assert stopped < 40, "stopped too late to show anything"

    with launched(repository, *flags) as process:
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert [row["step"] for row in read_metrics(metrics)] == list(range(1, 41))
    for number in (0, 1):
        assert f"[{number}] finished: step 40, loss " in output


def test_gpus_are_divided(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,GPU-5,7")
    shares = [one["CUDA_VISIBLE_DEVICES"] for one in local.variables(2, 8476)]
    assert shares == ["0,2", "GPU-5,7"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES" not in local.variables(3, 8476)[0]


def test_the_driver_lists_the_gpus(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    driver.chmod(0o755)
    assert local.gpus() == ["0", "1"]
    driver.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    assert local.gpus() == []
