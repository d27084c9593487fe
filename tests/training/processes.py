"""Starts runs in processes of their own, and always ends them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def started(
    dataset: Path, workdir: Path, *, devices: int = 1, variables: dict | None = None, **changes
) -> Iterator[subprocess.Popen]:
    """`run_on_mesh` on simulated CPU devices; killed on the way out if it still runs.

    Args:
      dataset, workdir: of the run.
      devices: simulated by this process.
      variables: of its environment.
      **changes: of the smallest configuration, `__` for the dots.
    """
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        **(variables or {}),
    }
    words = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in changes.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.run_on_mesh", dataset, workdir, *words],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(dataset: Path, workdir: Path, **options) -> str:
    """What a whole run prints; fails with it where the run does."""
    with started(dataset, workdir, **options) as process:
        return output(process)


def run_together(dataset: Path, workdir: Path, count: int, **options) -> None:
    """One run of several processes, joined by `jax.distributed` on the loopback interface."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with contextlib.ExitStack() as stack:
        processes: Sequence[subprocess.Popen] = [
            stack.enter_context(
                started(
                    dataset,
                    workdir,
                    variables={
                        "JAX_COORDINATOR_ADDRESS": address,
                        "JAX_NUM_PROCESSES": str(count),
                        "JAX_PROCESS_ID": str(number),
                    },
                    **options,
                )
            )
            for number in range(count)
        ]
        for process in processes:
            output(process)


def output(process: subprocess.Popen) -> str:
    printed, _ = process.communicate(timeout=540)
    assert process.returncode == 0, printed
    return printed
