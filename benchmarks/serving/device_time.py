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
from dataclasses import dataclass
from typing import Any

import numpy as np

from semanticvla_jax.data import normalization
from semanticvla_jax.data.augmentation import Augmentation
from semanticvla_jax.data.transforms import Sighted
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
    params: Any = None

    def forward(self, params: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
        rows = len(batch["state"])
        time.sleep(self.fixed + rows * self.row)
        return np.zeros((rows, self.chunk, self.robot.action_size), np.float32)


def stopwatch(fixed: float, row: float) -> Stopwatch:
    """A LIBERO policy of 224-pixel images that takes `fixed` + B `row` seconds for a batch of B."""
    rng = np.random.default_rng(0)
    statistics = normalization.DatasetStatistics.of(
        LIBERO,
        rng.normal(0, 0.5, (100, LIBERO.state_size)),
        rng.uniform(-0.6, 0.6, (100, LIBERO.action_size)),
        1,
    )
    return Stopwatch(
        label="stopwatch",
        robot=LIBERO,
        camera_size=256,
        chunk=LIBERO.chunk_length,
        transform=Sighted(224, Augmentation()),
        tokenizer=PromptTokenizer(),
        statistics=statistics,
        fixed=fixed,
        row=row,
    )


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
