"""Serves a policy whose model is a stopwatch: everything but the accelerator's work is real.

    python -m benchmarks.serving.device_time --fixed_ms 5 --row_ms 0.3 --port 8000 --batch_sizes 1,8

A batch of B takes `fixed_ms + B row_ms`, in which the host is free: a large model at small batches
reads its weights for most of that time, whatever B is. Decoding, JPEG round trips, resizing to 224
pixels, tokenizing and normalising are those of the trained policies.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.made_up import made_up_interface
from semanticvla_jax.interface import Interface
from semanticvla_jax.robots import LIBERO
from semanticvla_jax.serve import serve
from semanticvla_jax.serving.options import ServerOptions
from semanticvla_jax.text.tokenizers import PromptTokenizer

UNLIMITED = 1e9  # requests per second


@dataclass
class Stopwatch(Interface):
    """An interface to no model. `fixed`, `row`: seconds of a batch, and of each of its rows."""

    fixed: float
    row: float

    def receive(self, observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return self.prepare(observation)

    def compile(self, sizes: Sequence[int]) -> None:
        """There is no program."""

    def compute(self, rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        time.sleep(self.fixed + len(rows) * self.row)
        return np.zeros((len(rows), self.chunk, self.robot.action_size), np.float32)


def stopwatch(fixed: float, row: float) -> Stopwatch:
    """A LIBERO policy of 224-pixel images that takes `fixed` + B `row` seconds for a batch of B."""
    interface = made_up_interface("stopwatch", 224, LIBERO, PromptTokenizer())
    return Stopwatch(**vars(interface), fixed=fixed, row=row)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.serving.device_time")
    parser.add_argument("--fixed_ms", type=float, default=5.0)
    parser.add_argument("--row_ms", type=float, default=0.3)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--batch_sizes", default="1,2,4,8")
    arguments = parser.parse_args()
    options = ServerOptions(
        port=arguments.port,
        batch_sizes=tuple(map(int, arguments.batch_sizes.split(","))),
        rate=UNLIMITED,
        clients=1000,
        queue=1000,
    )
    policy = stopwatch(1e-3 * arguments.fixed_ms, 1e-3 * arguments.row_ms)
    sys.exit(not asyncio.run(serve(lambda: policy, options)))
