"""Starts runs in processes of their own, and always ends them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def started(
    dataset: Path,
    workdir: Path,
    *,
    config: str = "smallest",
    devices: int = 1,
    variables: dict[str, str] | None = None,
    **changes,
) -> Iterator[subprocess.Popen]:
    """`run_on_mesh` on simulated CPU devices; killed on the way out if it still runs.

    Args:
      dataset, workdir: of the run.
      config: one of `tests.smallest.CONFIGS`.
      devices: simulated by this process.
      variables: of its environment.
      **changes: of the configuration, `__` for the dots.
    """
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        **(variables or {}),
    }
    words = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in changes.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.run_on_mesh", config, dataset, workdir, *words],
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


def run(dataset: Path, workdir: Path, *, processes: int = 1, **options) -> str:
    """What a whole run prints, of its first process; fails where one of them does.

    Several are joined by `jax.distributed` on the loopback interface.
    """
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(started(dataset, workdir, **with_variables(options, variables)))
            for variables in joining(processes)
        ]
        return [output(process) for process in running][0]


def joining(processes: int) -> list[dict[str, str]]:
    """The variables by which so many processes find each other; none for one."""
    if processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    common = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(processes)}
    return [common | {"JAX_PROCESS_ID": str(number)} for number in range(processes)]


def with_variables(options: dict, variables: dict[str, str]) -> dict:
    return options | {"variables": options.get("variables", {}) | variables}


def compiling_once(cache: Path) -> dict[str, str]:
    """Variables of processes that share what they compile."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def output(process: subprocess.Popen) -> str:
    printed, _ = process.communicate(timeout=540)
    assert process.returncode == 0, printed
    return printed
