"""A checkpoint with fresh parameters: what evaluation costs does not depend on their values."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from semanticvla_jax import policy
from semanticvla_jax.data import normalization
from semanticvla_jax.data.options import DataOptions
from semanticvla_jax.robots import find_robot
from semanticvla_jax.training.checkpoints import Checkpoints
from semanticvla_jax.training.trainer import as_json


def write_untrained(config: ConfigDict, workdir: Path, camera_size: int) -> None:
    """Step 0 of a run of `config` that saw random numbers for statistics.

    Args:
      config: of an experiment, as in configs/.
      workdir: gets `checkpoints/0`.
      camera_size: pixels of the camera images that the policy is to be shown.
    """
    robot, options = find_robot(config.robot), DataOptions.of(config.data)
    rng = np.random.default_rng(0)
    statistics = normalization.DatasetStatistics.of(
        robot,
        rng.normal(0, 0.5, (100, robot.state_size)),
        rng.uniform(-0.6, 0.6, (100, robot.action_size)),
        1,
    )
    tokenizer = options.tokenizer()
    model = policy.build_model(config.model.to_dict(), robot, tokenizer)
    example = policy.example_batch(robot, options.image_size, tokenizer)
    init = functools.partial(model.init, {"params": jax.random.key(0), "noise": jax.random.key(0)})
    meta = {
        "config": as_json(config),
        "robot": robot.name,
        "statistics": normalization.to_json({"untrained": statistics}),
        "dataset": "none",
        "camera_size": camera_size,
    }
    checkpoints = Checkpoints(workdir)
    checkpoints.save_params(0, params=jax.jit(init)(example)["params"], meta=meta)
    checkpoints.close()
