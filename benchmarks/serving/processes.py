"""Servers and robots in processes of their own, as they are in life."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence

import numpy as np


@contextlib.contextmanager
def server(module: str, arguments: Sequence[str]) -> Iterator[str]:
    """The url of `python -m module --port 0 ARGUMENTS`, once it is ready; drained at the end."""
    command = [sys.executable, "-m", module, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            listening, ready = process.stdout.readline(), process.stdout.readline()
            if not ready.startswith("ready"):
                raise SystemExit(f"`{' '.join(command)}` did not become ready: {listening}{ready}")
            yield listening.split()[-1]
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()


def ask(url: str, robots: int, seconds: float, processes: int) -> tuple[np.ndarray, float]:
    """Lets robots ask: (f[Q] seconds of each answer, answers per second).

    Args:
      url: of the server.
      robots: how many, each a connection.
      seconds: for how long.
      processes: over which the robots are spread.
    """
    shares = [robots // processes + (number < robots % processes) for number in range(processes)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving.robots", url, str(share), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in shares
        if share
    ]
    results = [json.loads(process.communicate(timeout=seconds + 120)[0]) for process in running]
    latencies = np.concatenate([result["latencies"] for result in results])
    return latencies, sum(len(result["latencies"]) / result["seconds"] for result in results)


def metric(url: str, name: str) -> float:
    """One number of the server's /metrics."""
    page = url.replace("ws", "http", 1) + "/metrics"
    with urllib.request.urlopen(page, timeout=10) as response:
        text = response.read().decode()
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])
