"""This project's policy as a side of the comparison; see worker.Side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks import ceilings, random_policy
from benchmarks.latency import inputs, stages, worker
from benchmarks.latency.contest import Contest
from semanticvla_jax.inference.options import InferenceOptions


class OurSide:
    """Random weights on this machine's first device."""

    def __init__(self, name: str, changes: Mapping[str, Any], precision: str, instruction: str):
        """Arguments as those of Contest."""
        one = Contest(name, changes, precision, instruction)
        self.robot, self.instruction, self.dtype = one.robot, instruction, one.dtype
        options = InferenceOptions(precision=one.weights)
        self.policy = random_policy.policy(one.model, one.robot, one.tokenizer, options)
        self.query(self.draw(0))  # compiles
        device = jax.devices()[0]
        self.about = {
            "version": f"JAX {jax.__version__}",
            "device": worker.cores() if device.platform == "cpu" else device.device_kind,
            "failed": {},
        }
        self.calls = {"": self.query}

    def query(self, seen: inputs.Observation) -> np.ndarray:
        return self.policy.infer(self.observed(seen))

    def observed(self, seen: inputs.Observation) -> dict[str, Any]:
        """As a robot's client sends it."""
        images = dict(zip(self.robot.camera_names, seen.images, strict=True))
        return {**images, "state": seen.state, "instruction": self.instruction}

    def draw(self, index: int) -> inputs.Observation:
        cameras, pixels = len(self.robot.cameras), self.policy.camera_size
        return inputs.observation(index, cameras, pixels, self.robot.state_size)

    def stages(self) -> dict[str, Callable[[], Any]]:
        return stages.stages(self.policy, self.observed(self.draw(0)))

    def ceilings(self) -> dict[str, float]:
        return {"copy": ceilings.copy_rate(), "product": ceilings.product_rate(self.dtype)}


if __name__ == "__main__":
    worker.serve(OurSide)
