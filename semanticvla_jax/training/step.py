"""The training step: loss, gradient, update; jit-compiled over the mesh with donated state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from semanticvla_jax.robots import RobotSpec
from semanticvla_jax.training import parameters


@flax.struct.dataclass
class TrainState:
    """Everything that a step changes; `frozen` parameters live beside it, not in it."""

    step: jax.Array  # i32[]
    trainable: Any
    optimizer: Any


def group_weights(robot: RobotSpec, weights: Mapping[str, float]) -> jax.Array:
    """Per-dimension loss weights f32[A] from per-group ones ({'rotation': 0.3}); others are 1."""
    dims = [1.0] * len(robot.action_names)
    for group, indices in robot.action_groups.items():
        for index in indices:
            dims[index] = float(weights.get(group, 1.0))
    return jnp.asarray(dims, jnp.float32)


def make_train_step(
    model,
    optimizer: optax.GradientTransformation,
    rate: optax.Schedule,
    *,
    loss_weights: jax.Array,
    robot: RobotSpec,
    seed: int,
) -> Callable:
    """Returns `step(state, frozen, batch) -> (state, metrics)`, to be jitted by the caller.

    The random numbers of step i depend on (seed, i) alone, so a resumed run repeats them.
    """

    def step(state: TrainState, frozen: dict, batch: dict) -> tuple[TrainState, dict]:
        noise = jax.random.fold_in(jax.random.key(seed), state.step)

        def loss_function(trainable):
            params = parameters.merge(trainable, frozen)
            return model.apply(
                {"params": params}, batch, loss_weights, rngs={"noise": noise}, method="supervise"
            )

        (loss, actions), gradients = jax.value_and_grad(loss_function, has_aux=True)(
            state.trainable
        )
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.trainable)
        trainable = optax.apply_updates(state.trainable, updates)
        metrics = {
            "loss": loss,
            "gradient_norm": optax.global_norm(gradients),
            "learning_rate": rate(state.step),
            **group_errors(actions, batch["actions"], robot),
        }
        return TrainState(state.step + 1, trainable, optimizer_state), metrics

    return step


def group_errors(predicted: jax.Array, target: jax.Array, robot: RobotSpec) -> dict[str, jax.Array]:
    """Mean absolute error per action group, normalised units, as {'l1/translation': f32[]}."""
    error = jnp.mean(jnp.abs(predicted - target), axis=(0, 1))
    return {
        f"l1/{group}": jnp.mean(error[jnp.asarray(indices)])
        for group, indices in robot.action_groups.items()
    }
