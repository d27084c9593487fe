"""Weights are gathered where they are used; batches are never moved between devices instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys, json, jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P
from semanticvla_jax.costs import hlo
from semanticvla_jax.models.layers import Dense
from semanticvla_jax.training import sharding

mesh = sharding.make_mesh(data=1, fsdp=4)
layers = [Dense(64, use_bias=False), Dense(32, use_bias=False)]

def loss(kernels, x):
    for layer, kernel in zip(layers, kernels):
        x = jnp.tanh(layer.apply({"params": {"kernel": kernel}}, x))
    return x.sum()

place = lambda shape, spec: jax.ShapeDtypeStruct(
    shape, jnp.float32, sharding=NamedSharding(mesh, spec))
kernels = [place((32, 64), P("fsdp")), place((64, 32), P("fsdp"))]
step = jax.grad(loss)
step = sharding.keep_batch_split(step, mesh) if sys.argv[1] == "kept" else step
x = place((4, 1, 32), sharding.BATCH)
text = jax.jit(step).lower(kernels, x).compile().as_text()
print(json.dumps(sorted(
    list(shape.dims)
    for body in hlo.parse(text).computations.values()
    for instruction in body.values()
    if instruction.opcode.startswith("all-gather")
    for shape in instruction.shapes
)))
"""


@pytest.fixture(scope="module")
def gathered(repository):
    """Shapes that are gathered, of a program on four simulated devices."""

    def run(how: str) -> list[list[int]]:
        flags = "--xla_force_host_platform_device_count=4"
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-c", PROGRAM, how]
        done = subprocess.run(
            command, cwd=repository, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_only_weights_are_gathered(gathered):
    assert {tuple(sorted(shape)) for shape in gathered("kept")} == {(32, 64)}


def test_xla_alone_moves_the_batch(gathered):
    assert any(4 in shape for shape in gathered("free"))
