"""The loss on episodes held out of training."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.robots import RobotSpec
from semanticvla_jax.training import parameters, sharding
from semanticvla_jax.training.step import TrainState, group_errors


def make_validation_step(model, *, loss_weights: jax.Array, robot: RobotSpec) -> Callable:
    """Returns `step(state, frozen, batch) -> metrics`, to be jitted by the caller.

    Averaged parameters are used where there are some. The random numbers are the same every time.
    """

    def step(state: TrainState, frozen: dict, batch: dict) -> dict[str, jax.Array]:
        trained = state.trainable if state.average is None else state.average
        loss, actions = model.apply(
            {"params": parameters.merge(trained, frozen)},
            batch,
            loss_weights,
            rngs={"noise": jax.random.key(0)},
            method="supervise",
        )
        return {"loss": loss, **group_errors(actions, batch["actions"], robot)}

    return step


def validate(step: Callable, state: TrainState, frozen: dict, batches, mesh) -> dict[str, float]:
    """Mean of a step's metrics over batches, as {'validation/loss': ...}.

    Args:
      step: compiled, see `make_validation_step`.
      batches: whole ones, the same in every process.
      mesh: over which they are split.
    """
    index, count = sharding.batch_share(mesh)
    rows = []
    for batch in batches:
        share = {name: np.split(value, count)[index] for name, value in batch.items()}
        placed = sharding.put_batch(share, mesh)
        with jax.transfer_guard("disallow"):
            rows.append(step(state, frozen, placed))
    means = jax.tree.map(lambda *values: jnp.mean(jnp.stack(values)), *rows)
    return {f"validation/{name}": float(value) for name, value in means.items()}
