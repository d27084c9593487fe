"""Streaming: the values of plain conversion, placed in parts, with little host memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from safetensors.numpy import save_file

from semanticvla_jax.errors import InputError
from semanticvla_jax.training.sharding import make_mesh, parameter_shardings
from semanticvla_jax.weights import rules, streaming
from semanticvla_jax.weights.files import open_weights
from semanticvla_jax.weights.layouts import transposed

DEPTH, WIDTH, VOCABULARY = 4, 256, 512
RULES = [
    rules.Rule(r"embed\.weight", "embed/embedding"),
    rules.Rule(r"layers\.(\d+)\.q\.weight", r"layers_\1/qkv/kernel", transposed, 0),
    rules.Rule(r"layers\.(\d+)\.k\.weight", r"layers_\1/qkv/kernel", transposed, 1),
    rules.Rule(r"layers\.(\d+)\.norm\.weight", r"layers_\1/norm/scale"),
    rules.ignore(r"unused", "not needed"),
]


def shapes(dtype) -> dict:
    def shape(*sizes):
        return jax.ShapeDtypeStruct(sizes, dtype)

    return {
        "embed": {"embedding": shape(VOCABULARY, WIDTH)},
        "layers": {
            "qkv": {"kernel": shape(DEPTH, WIDTH, 2 * WIDTH)},
            "norm": {"scale": shape(DEPTH, WIDTH)},
        },
        "head": {"kernel": shape(WIDTH, 8)},
    }


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """One file of bfloat16 weights, about 1.3 MB."""
    generator = np.random.default_rng(0)
    arrays = {"embed.weight": (VOCABULARY, WIDTH), "unused": (2,)}
    for i in range(DEPTH):
        arrays |= {f"layers.{i}.{name}.weight": (WIDTH, WIDTH) for name in "qk"}
        arrays[f"layers.{i}.norm.weight"] = (WIDTH,)
    arrays = {
        name: generator.standard_normal(size, np.float32).astype(jnp.bfloat16)
        for name, size in arrays.items()
    }
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(arrays, path)
    return path


def single(dtype, **changes) -> dict:
    """Arguments of `stream` on one device."""
    wanted = shapes(dtype)
    mesh = make_mesh(devices=jax.devices()[:1])
    placed = parameter_shardings(wanted, mesh)
    return {"rules": RULES, "shapes": wanted, "shardings": placed, "fresh": ["head/.*"]} | changes


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_streamed_equals_converted(checkpoint, dtype):
    source = open_weights(checkpoint)
    expected, accounts = rules.convert(source, RULES, shapes(dtype), fresh=["head/.*"])
    found, report = streaming.stream(source, **single(dtype))
    assert report == accounts and report.fresh == ["head/kernel"]
    assert report.ignored == {"unused": "not needed"}
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype(dtype)}


def test_progress_counts_every_byte_once(checkpoint):
    seen = {}
    found, _ = streaming.stream(
        open_weights(checkpoint), **single(jnp.float32, progress=seen.__setitem__)
    )
    assert seen.keys() == {"embed/embedding", "layers/qkv/kernel", "layers/norm/scale"}
    assert sum(seen.values()) == sum(x.nbytes for x in jax.tree.leaves(found))


def test_nothing_is_read_before_the_accounts_are_settled(checkpoint):
    class Sealed(dict):
        def __getitem__(self, name):
            array = super().__getitem__(name)
            return jax.ShapeDtypeStruct(array.shape, array.dtype)

    source = Sealed(open_weights(checkpoint))
    with pytest.raises(InputError, match="source lacks.*head/kernel"):
        streaming.stream(source, **single(jnp.float32, fresh=()))


def staged_bytes(source: dict, name: str, dtype) -> int:
    """Most bytes that Python and numpy hold at once while one part of the model is streamed.

    jax's own memory, where finished parameters are, is not counted.
    """
    part = {key: source[key] for key in source if key.startswith(name)}
    arguments = single(dtype, fresh=[f"(?!{name}).*"])
    streaming.stream(part, **arguments)  # What compilation allocates is not counted below.
    tracemalloc.start()
    try:
        streaming.stream(part, **arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_the_host_holds_a_layer_at_a_time(checkpoint, dtype):
    source = open_weights(checkpoint)
    item, small = jnp.dtype(dtype).itemsize, 80_000
    layer, piece = WIDTH * 2 * WIDTH * item, WIDTH * WIDTH * 2
    # One more layer where jax has not yet given back the one before.
    bound = 2 * layer + piece + small
    assert layer + piece <= staged_bytes(source, "layers", dtype) < bound < DEPTH * layer
    table = VOCABULARY * WIDTH
    assert staged_bytes(source, "embed", dtype) < table * (item + 2) + small


def check_on_eight_devices(checkpoint: str) -> None:
    """Runs in a process of its own: every way of dividing a parameter gives the same values."""
    source, wanted = open_weights(checkpoint), shapes(jnp.float32)
    expected, _ = rules.convert(source, RULES, wanted, fresh=["head/.*"])
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    by_rules = parameter_shardings(wanted, mesh)
    divided_by_layer = jax.tree.map(
        lambda shape: NamedSharding(mesh, PartitionSpec(("data", "tensor"))), wanted
    )
    for shardings in (by_rules, divided_by_layer):
        arguments = single(jnp.float32, shapes=wanted, shardings=shardings)
        found, _ = streaming.stream(source, **arguments)
        jax.tree.map(np.testing.assert_array_equal, found, expected)
        jax.tree.map(check_division, found, {name: shardings[name] for name in found})


def check_division(array: jax.Array, sharding: NamedSharding) -> None:
    """Eight devices hold what the sharding says, and no more."""
    assert array.sharding == sharding
    sizes = [shard.data.shape for shard in array.addressable_shards]
    assert sizes == [sharding.shard_shape(array.shape)] * 8


def test_each_of_eight_devices_gets_its_own_part(checkpoint):
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    script = "import sys; from tests.weights import test_streaming as t"
    subprocess.run(
        [sys.executable, "-c", f"{script}; t.check_on_eight_devices(sys.argv[1])", checkpoint],
        env=os.environ | environment,
        check=True,
    )
