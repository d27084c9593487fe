"""Latency and FLOPs of every program at any shapes: random weights, random images."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import configurations, random_policy
from benchmarks.accelerators.contestants import NONE, methods_of
from semanticvla_jax.accelerate.methods import read_methods
from semanticvla_jax.accelerate.program import Program
from semanticvla_jax.accelerate.wrap import assemble
from semanticvla_jax.costs import products
from semanticvla_jax.costs.printed import aligned
from semanticvla_jax.errors import InputError
from semanticvla_jax.models.abstract import complete
from semanticvla_jax.robots import find_robot
from semanticvla_jax.text.tokenizers import PromptTokenizer

INSTRUCTION = "pick up the alphabet soup and place it in the basket"
HEAD = ("method", "batch", "slots", "TFLOP/call", "ms/call", "ms/observation", "speed-up")


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Prints a table for each configuration; all its rows."""
    found: list[dict[str, Any]] = []
    print(f"{jax.devices()[0].device_kind}, {arguments.dtype}, {arguments.calls} calls, medians")
    for name in arguments.config:
        policy = _policy(name, arguments.dtype)
        print(f"\n{name}", flush=True)
        rows = []
        for batch in map(int, arguments.batch.split(",")):
            for method in (NONE, *arguments.methods.split(",")):
                if "sp_vla_schedule" in method or method == "sp_vla":
                    continue  # leaves calls out; what is asked costs what it costs without
                try:
                    rows += _method(policy, method, batch, arguments.calls)
                except InputError as error:
                    print(f"{method}: {error}", flush=True)
        plain = {row["batch"]: row["ms"] for row in rows if row["method"] == NONE}
        for row in rows:
            row |= {"config": name, "speed_up": plain[row["batch"]] / row["ms"]}
        print(aligned([HEAD, *map(_cells, rows)]), flush=True)
        print(_verdict(rows), flush=True)
        found += rows
    return found


def _policy(name: str, dtype: str) -> Any:
    config = configurations.load(name)
    model = random_policy.at_precision(complete(config), dtype)
    return random_policy.policy(model, find_robot(config.robot), PromptTokenizer())


def _method(policy: Any, method: str, batch: int, calls: int) -> list[dict[str, Any]]:
    """One row for each of the fewest and the most slots that the method takes."""
    text = methods_of(method)
    chosen = read_methods(text, policy.model.llm.depth)
    inputs = [_inputs(policy, seed) for seed in range(batch)]
    accelerated = assemble(policy, chosen, inputs)
    policy = accelerated.policy
    program = accelerated.program or Program(policy.model, policy.params)
    heard = [program.hear(row) for row in inputs]
    extras = [program.prepare(row, None, policy.robot) for row in heard]
    whole, more = jax.tree.map(
        lambda *leaves: np.concatenate(leaves), *zip(heard, extras, strict=True)
    )
    whole, more = jax.device_put((whole, more))
    state = program.begin(whole, more)
    choices = program.choices(program.visual_tokens(whole, more))
    rows = []
    for slots in dict.fromkeys((choices[0], choices[-1])):

        def call(slots=slots):
            seen, _ = program.look(whole, more, state)
            np.asarray(program.run(slots, whole, more, state, seen)[0])

        def traced(batch, extras, state, slots=slots):
            return program.run(slots, batch, extras, state, None)[0]

        flops = products.total(products.trace(traced, whole, more, state).products)
        seconds = _median(call, calls)
        row = {"method": method, "batch": batch, "slots": list(slots), "flops": flops}
        rows.append({**row, "ms": 1e3 * seconds})
        print(f"{method}, batch {batch}, slots {slots}: {1e3 * seconds:.2f} ms", flush=True)
    return rows


def _inputs(policy: Any, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = policy.camera_size, policy.camera_size, 3
    cameras = {
        name: rng.integers(0, 255, shape, dtype=np.uint8) for name in policy.robot.camera_names
    }
    state = rng.uniform(-0.1, 0.1, policy.robot.state_size).astype(np.float32)
    return policy.prepare({**cameras, "state": state, "instruction": INSTRUCTION})


def _median(call: Callable[[], None], calls: int) -> float:
    for _ in range(3):
        call()
    seconds = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _cells(row: dict[str, Any]) -> Sequence[str]:
    return (
        row["method"],
        str(row["batch"]),
        "/".join(map(str, row["slots"])),
        f"{row['flops'] / 1e12:.3f}",
        f"{row['ms']:.2f}",
        f"{row['ms'] / row['batch']:.2f}",
        f"{row['speed_up']:.2f}",
    )


def _verdict(rows: Sequence[dict[str, Any]]) -> str:
    """Where the fewest slots save time, and where they do not."""
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        key = row["method"], row["batch"]
        if row["method"] != NONE and (key not in best or row["ms"] < best[key]["ms"]):
            best[key] = row
    plain = {row["batch"]: row["flops"] for row in rows if row["method"] == NONE}
    lines = []
    for (method, batch), row in best.items():
        word = "helps" if row["speed_up"] >= 1.05 else "does not help"
        share = 100 * row["flops"] / plain[batch]
        lines.append(
            f"{method} at batch {batch} {word}: at best {row['speed_up']:.2f} times as fast with "
            f"{share:.0f} % of the FLOPs"
        )
    return "\n".join(lines)
