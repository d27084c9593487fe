"""This project's training step on this machine's devices, timed; see the package's docstring."""

from __future__ import annotations

import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import ceilings
from benchmarks.training_step import settings
from semanticvla_jax.costs import products
from semanticvla_jax.models import abstract
from semanticvla_jax.models.build import build
from semanticvla_jax.robots import find_robot
from semanticvla_jax.training import parameters, sharding
from semanticvla_jax.training.program import Program
from semanticvla_jax.training.step import TrainState, group_weights


def program(config) -> Program:
    """The compiled step that training would run, on this machine's devices; no data is needed."""
    robot, model = find_robot(config.robot), abstract.complete(config)
    batch = abstract.abstract_batch(model, robot, config.data.prompt_length)
    example = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), batch)
    mesh = sharding.make_mesh(**config.mesh)
    return Program(config, robot, build(model), example, mesh)


def random_state(planned: Program) -> tuple[TrainState, dict]:
    """(state, frozen parameters) from the configuration's seed, in their final sharding."""
    key = jax.random.key(planned.config.seed)
    params = jax.jit(planned.init, out_shardings=planned.shardings)(key)
    trainable, frozen = parameters.split(params, planned.selected)

    def first(trainable):
        return TrainState(jnp.zeros((), jnp.int32), trainable, planned.optimizer.init(trainable))

    return jax.jit(first, out_shardings=planned.state_shardings, donate_argnums=0)(
        trainable
    ), frozen


def random_batch(planned: Program, generator: np.random.Generator) -> dict[str, jax.Array]:
    """Random images, words, states and actions, on the devices."""
    words = planned.model.llm.vocab_size

    def draw(name: str, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if leaf.dtype == jnp.bool_:
            return np.ones(leaf.shape, bool)
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return generator.integers(0, 256 if name == "images" else words, leaf.shape, leaf.dtype)
        return generator.normal(size=leaf.shape).astype(leaf.dtype)

    _, _, shapes = planned.abstract_arguments()
    batch = {name: draw(name, leaf) for name, leaf in shapes.items()}
    return sharding.put_batch(batch, planned.mesh)


def model_flops(config) -> int:
    """FLOPs of a step's products: forward, and the gradients that training needs.

    Neither what rematerialisation computes again counts, nor what the optimizer multiplies.
    """
    config = config.copy_and_resolve_references()
    with config.unlocked():
        for part in (config.model.siglip, config.model.dino, config.model.llm):
            part.remat = False
    planned = program(config)
    state, frozen, batch = planned.abstract_arguments()
    weights = group_weights(planned.robot, config.loss_weights)

    def loss(trainable, frozen, batch):
        params = {"params": parameters.merge(trainable, frozen)}
        noise = {"noise": jax.random.key(0)}
        return planned.model.apply(params, batch, weights, rngs=noise, method="supervise")[0]

    gradient = jax.value_and_grad(loss)
    return products.total(products.trace(gradient, state.trainable, frozen, batch).products)


def measure(config, steps: int) -> dict:
    """Seconds of each of `steps` steps after two that warm up, with the devices' own ceilings."""
    planned = program(config)
    (state, frozen), generator = random_state(planned), np.random.default_rng(0)
    began = time.perf_counter()
    step = planned.step_function.lower(*planned.abstract_arguments()).compile()
    compile_seconds = time.perf_counter() - began
    seconds = []
    for _ in range(steps + 2):
        batch = jax.block_until_ready(random_batch(planned, generator))
        began = time.perf_counter()
        state, metrics = step(state, frozen, batch)
        loss = float(metrics["loss"])
        seconds.append(time.perf_counter() - began)
    device = jax.devices()[0]
    memory = device.memory_stats() or {}
    return {
        "seconds": seconds[2:],
        "loss": loss,
        "trained": parameters.count(planned.state_shapes.trainable),
        "peak_bytes": memory.get("peak_bytes_in_use"),
        "compile_seconds": compile_seconds,
        "flops": model_flops(config),
        "product_rate": ceilings.product_rate(
            jnp.bfloat16, 8192 if device.platform != "cpu" else 512
        ),
        "device": f"{len(jax.devices())} x {device.device_kind}",
        "versions": {"jax": jax.__version__},
    }


if __name__ == "__main__":
    print(json.dumps(measure(*settings.read(sys.argv[1]))))
