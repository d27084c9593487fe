"""Actions of one checkpoint on one device and on two, and where its kernels lie; prints JSON.

XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m tests.inference.run_on_mesh DIR
"""

from __future__ import annotations

import json
import sys

import numpy as np

from semanticvla_jax.policy import load_policy
from semanticvla_jax.training import parameters
from tests.inference.compilations import compilations


def observation(policy) -> dict:
    rng = np.random.default_rng(0)
    size = policy.camera_size
    image, wrist = rng.integers(0, 256, (2, size, size, 3), np.uint8)
    state = np.linspace(-0.5, 0.5, 8).astype(np.float32)
    return {"image": image, "wrist_image": wrist, "state": state, "instruction": "open it"}


def main(checkpoint: str) -> None:
    found = {}
    for precision in ("", "int8", "int4"):
        alone, split = (
            load_policy(checkpoint, mesh=mesh, precision=precision) for mesh in ("", "tensor=2")
        )
        row = alone.prepare(observation(alone))
        for policy in (alone, split):
            policy.compile((1,))
        with compilations() as compiled:
            answers = [policy.compute([row]) for policy in (alone, split)]
        kernel = parameters.flatten(split.params)["llm/layers_0/self_attn/q_proj/kernel"]
        whole = getattr(kernel, "qvalue", kernel)
        found[precision] = {
            "difference": float(np.abs(answers[0] - answers[1]).max()),
            "spread": float(answers[0].std()),
            "compiled": len(compiled),
            "devices": len(whole.sharding.device_set),
            "part": whole.addressable_shards[0].data.shape,
            "whole": whole.shape,
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
