"""The training step: loss, gradient, update; jit-compiled over the mesh with donated state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from semanticvla_jax.robots import RobotSpec
from semanticvla_jax.training import parameters


@flax.struct.dataclass
class TrainState:
    """Everything that a step changes; `frozen` parameters live beside it, not in it."""

    step: jax.Array  # i32[]
    trainable: Any  # f32, whatever the precision of the computation and of `frozen`
    optimizer: Any
    average: Any = None  # moving average of `trainable`, f32; None without one


def group_weights(robot: RobotSpec, weights: Mapping[str, float]) -> np.ndarray:
    """Per-dimension loss weights f32[A] from per-group ones ({'rotation': 0.3}); others are 1."""
    dims = [1.0] * len(robot.action_names)
    for group, indices in robot.action_groups.items():
        for index in indices:
            dims[index] = float(weights.get(group, 1.0))
    return np.asarray(dims, np.float32)


def make_train_step(
    model,
    optimizer: optax.GradientTransformation,
    rate: optax.Schedule,
    *,
    loss_weights: jax.Array,
    robot: RobotSpec,
    seed: int,
    accumulate_steps: int = 1,
    ema_decay: float = 0.0,
) -> Callable:
    """Returns `step(state, frozen, batch) -> (state, metrics)`, to be jitted by the caller.

    The random numbers of step i depend on (seed, i) alone, so a resumed run repeats them.

    Args:
      model: has `supervise`.
      optimizer: of the trainable parameters.
      rate: reported beside the loss.
      loss_weights: f32[A], of the action dimensions.
      robot: whose action groups are reported.
      seed: of the random numbers.
      accumulate_steps: parts of the batch that go through the model one after the other; one update
        with their mean gradient follows. Each part draws random numbers of its own.
      ema_decay: of the moving average; 0 = none, then `state.average` is None.
    """

    def step(state: TrainState, frozen: dict, batch: dict) -> tuple[TrainState, dict]:
        noise = jax.random.fold_in(jax.random.key(seed), state.step)

        def gradients_of(batch, noise):
            def loss_function(trainable):
                params = parameters.merge(trainable, frozen)
                return model.apply(
                    {"params": params},
                    batch,
                    loss_weights,
                    rngs={"noise": noise},
                    method="supervise",
                )

            (loss, actions), gradients = jax.value_and_grad(loss_function, has_aux=True)(
                state.trainable
            )
            metrics = {"loss": loss, **group_errors(actions, batch["actions"], robot)}
            return gradients, metrics

        gradients, metrics = accumulated(gradients_of, batch, noise, accumulate_steps)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.trainable)
        trainable = optax.apply_updates(state.trainable, updates)
        average = state.average and moving_average(state.average, trainable, ema_decay)
        metrics |= {
            "gradient_norm": optax.global_norm(gradients),
            "learning_rate": rate(state.step),
        }
        return TrainState(state.step + 1, trainable, optimizer_state, average), metrics

    return step


def accumulated(function: Callable, batch: dict, noise: jax.Array, parts: int) -> Any:
    """Mean of `function(part, noise of the part)` over equal parts of a batch, one at a time.

    Part i has the samples i, i + parts, ...: each device keeps the samples that it holds.
    """
    if parts == 1:
        return function(batch, noise)

    def part(total, inputs):
        return jax.tree.map(jnp.add, total, function(*inputs)), None

    divided = {
        name: jnp.swapaxes(value.reshape(-1, parts, *value.shape[1:]), 0, 1)
        for name, value in batch.items()
    }
    inputs = divided, jax.random.split(noise, parts)
    first = jax.tree.map(lambda x: x[0], inputs)
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(lambda: function(*first))
    )
    total, _ = jax.lax.scan(part, zeros, inputs)
    return jax.tree.map(lambda x: x / parts, total)


def moving_average(average: dict, latest: dict, decay: float) -> dict:
    """decay * average + (1 - decay) * latest."""
    return jax.tree.map(lambda a, x: decay * a + (1.0 - decay) * x, average, latest)


def group_errors(predicted: jax.Array, target: jax.Array, robot: RobotSpec) -> dict[str, jax.Array]:
    """Mean absolute error per action group, normalised units, as {'l1/translation': f32[]}."""
    error = jnp.mean(jnp.abs(predicted - target), axis=(0, 1))
    return {
        f"l1/{group}": jnp.mean(error[jnp.asarray(indices)])
        for group, indices in robot.action_groups.items()
    }
