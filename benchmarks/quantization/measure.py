"""Action error, latency and size of a policy in several precisions."""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import configurations, random_policy
from semanticvla_jax.accelerate.load import typical_inputs
from semanticvla_jax.inference import fused
from semanticvla_jax.inference.numerics import (
    computing_in,
    parameter_bytes,
    stored_as_computed,
)
from semanticvla_jax.inference.quantization import quantize
from semanticvla_jax.models.abstract import complete
from semanticvla_jax.policy import Policy, load_policy
from semanticvla_jax.robots import BinaryGripper, RobotSpec, find_robot
from semanticvla_jax.text.tokenizers import PromptTokenizer
from semanticvla_jax.training import checkpoints

INSTRUCTION = "pick up the alphabet soup and place it in the basket"


def measure(arguments: argparse.Namespace, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each precision; the first, "", is what the others are compared with."""
    plain = policy_of(arguments)
    rows = observations(arguments, plain)
    policies = {name: at(plain, name) for name in names}
    actions = {
        name: np.stack([policy.finish(policy.compute([row]))[0] for row in rows])
        for name, policy in policies.items()
    }
    seconds = timed(policies, rows, arguments.calls)
    print(f"{jax.devices()[0].device_kind}, {len(rows)} observations, {arguments.calls} calls")
    return [
        {
            "precision": name,
            "dtype": jax.numpy.dtype(plain.model.llm.dtype).name,
            "bytes": parameter_bytes(policies[name].params),
            "seconds": seconds[name],
            "errors": errors(actions[name], actions[""], plain.robot),
        }
        for name in names
    ]


def policy_of(arguments: argparse.Namespace) -> Policy:
    """Unquantised and fused."""
    if arguments.checkpoint:
        return load_policy(arguments.checkpoint, dtype=arguments.dtype)
    config = configurations.load(arguments.config)
    model = computing_in(complete(config), arguments.dtype)
    lengths = {name: config.data[name] for name in ("prompt_length", "text_length")}
    policy = random_policy.policy(model, find_robot(config.robot), PromptTokenizer(**lengths))
    stored = stored_as_computed(policy.model, policy.params)
    model, params = fused.fuse(policy.model, stored)
    return dataclasses.replace(policy, model=model, params=params)


def at(policy: Policy, precision: str) -> Policy:
    """The policy with quantised weights."""
    if not precision:
        return policy
    model, params = quantize(policy.model, policy.params, precision)
    return dataclasses.replace(policy, model=model, params=params)


def observations(arguments: argparse.Namespace, policy: Policy) -> list[Mapping[str, np.ndarray]]:
    """Rows to compute: demonstrations', spread evenly, or noise."""
    if arguments.checkpoint:
        path = arguments.dataset
        if not path:
            opened, step = checkpoints.open_for_reading(arguments.checkpoint, None)
            path = opened.read_meta(step)["config"]["data"]["path"]
            opened.close()
        return typical_inputs(policy, path, arguments.observations)
    rng, size = np.random.default_rng(0), policy.camera_size
    rows = []
    for _ in range(arguments.observations):
        images = rng.integers(0, 256, (len(policy.robot.cameras), size, size, 3), np.uint8)
        seen = dict(zip(policy.robot.camera_names, images, strict=True))
        seen["state"] = rng.normal(0, 0.3, policy.robot.state_size).astype(np.float32)
        rows.append(policy.prepare({**seen, "instruction": INSTRUCTION}))
    return rows


def errors(found: np.ndarray, expected: np.ndarray, robot: RobotSpec) -> dict[str, dict[str, Any]]:
    """Of actions f32[n, K, A] in the controller's units: per kind, mean and max absolute error.

    Of grippers whose command is a sign: the share of commands that flip, and whether any does.
    """
    difference, summary = np.abs(found - expected), {}
    for kind, dims in robot.action_kinds.items():
        moved, unit = difference[..., list(dims)], robot.action[dims[0]].unit
        if kind == "gripper" and isinstance(robot.gripper, BinaryGripper):
            moved, unit = (moved > 0).astype(float), "share flipped"
        summary[kind] = {"mean": float(moved.mean()), "max": float(moved.max()), "unit": unit}
    return summary


def timed(policies: Mapping[str, Policy], rows: Sequence[Any], calls: int) -> dict[str, float]:
    """Median seconds of a call at batch 1; in turns, so that what else runs hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in policies}
    for number in range(calls):
        for name, policy in policies.items():
            began = time.perf_counter()
            policy.compute([rows[number % len(rows)]])
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in seconds.items()}
