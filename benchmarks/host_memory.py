"""Training steps per second on this CPU with and without `training.host_memory`, in turns.

    python -m benchmarks.host_memory [--config configs/libero_tiny.py] [--steps 20] [--rounds 3]

Each measurement is a process of its own, because the allocator cannot be set back. Random inputs.
Last line: `ratio=X`, with / without, from the medians.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import subprocess
import sys
import time


def measure(config_path: str, steps: int, keep: bool) -> float:
    """Samples per second of the compiled training step."""
    import jax
    import jax.numpy as jnp

    from semanticvla_jax import policy, robots
    from semanticvla_jax.data.options import DataOptions
    from semanticvla_jax.training import host_memory, optimizer
    from semanticvla_jax.training.step import TrainState, group_weights, make_train_step

    if keep:
        host_memory.keep_freed_memory()
    config = importlib.import_module(config_path.removesuffix(".py").replace("/", ".")).get_config()
    robot = robots.find_robot(config.robot)
    tokenizer = DataOptions.of(config.data).tokenizer()
    model = policy.build_model(config.model.to_dict(), robot, tokenizer)
    example = policy.example_batch(robot, config.data.image_size, tokenizer)
    batch = jax.tree.map(lambda x: jnp.repeat(x, config.batch_size, axis=0), example)
    shape = (config.batch_size, robot.chunk_length, robot.action_size)
    batch["actions"] = jax.random.uniform(jax.random.key(1), shape)
    params = model.init({"params": jax.random.key(0), "noise": jax.random.key(0)}, example)[
        "params"
    ]
    transform, rate = optimizer.build(config.optimizer, params, total_steps=config.total_steps)
    step = make_train_step(
        model, transform, rate, loss_weights=group_weights(robot, {}), robot=robot, seed=0
    )
    step = jax.jit(step, donate_argnums=0)
    state = TrainState(jnp.zeros((), jnp.int32), params, transform.init(params))
    for _ in range(2):
        state, metrics = step(state, {}, batch)
    jax.block_until_ready(metrics)
    began = time.perf_counter()
    for _ in range(steps):
        state, metrics = step(state, {}, batch)
    jax.block_until_ready(metrics)
    return steps * config.batch_size / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/libero_tiny.py")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=("keep", "default"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(measure(arguments.config, arguments.steps, arguments.measure == "keep"))
        return
    rates: dict[str, list[float]] = {"keep": [], "default": []}
    for _ in range(arguments.rounds):
        for name, values in rates.items():
            command = [sys.executable, "-m", "benchmarks.host_memory", "--measure", name]
            command += ["--config", arguments.config, "--steps", str(arguments.steps)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            values.append(float(printed.split()[-1]))
            print(f"{name:8} {values[-1]:7.1f} samples/s", flush=True)
    print(f"ratio={statistics.median(rates['keep']) / statistics.median(rates['default']):.2f}")


if __name__ == "__main__":
    main()
