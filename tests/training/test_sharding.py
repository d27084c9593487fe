"""Meshes and sharding rules, on eight simulated devices in a process of their own."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import sharding


def test_one_device_is_a_mesh_of_one():
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    assert dict(mesh.shape) == {"data": 1, "fsdp": 1, "tensor": 1}


def test_axes_must_use_every_device():
    with pytest.raises(InputError, match="a product of 1"):
        sharding.make_mesh(data=2, fsdp=2, devices=jax.devices()[:1])


EIGHT_DEVICES = """
import jax, jax.numpy as jnp, numpy as np
from semanticvla_jax.training import sharding
mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
shapes = {
    "llm": {"layers": {"q_proj": {"kernel": jax.ShapeDtypeStruct((3, 8, 4), jnp.float32)},
                       "down_proj": {"kernel": jax.ShapeDtypeStruct((3, 4, 8), jnp.float32)}}},
    "odd": {"q_proj": {"kernel": jax.ShapeDtypeStruct((7, 4), jnp.float32)}},
    "norm": {"scale": jax.ShapeDtypeStruct((8,), jnp.float32)},
}
found = sharding.parameter_shardings(shapes, mesh)
print(found["llm"]["layers"]["q_proj"]["kernel"].spec)
print(found["llm"]["layers"]["down_proj"]["kernel"].spec)
print(found["odd"]["q_proj"]["kernel"].spec)
print(found["norm"]["scale"].spec)
batch = sharding.put_batch({"x": np.arange(8.0)[:, None]}, mesh)["x"]
print(batch.addressable_shards[0].data.shape, float(batch.sum()))
try:
    sharding.put_batch({"x": np.zeros((6, 1))}, mesh)
except ValueError as error:
    print(error)
"""


def test_rules_on_eight_devices():
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}

    printed = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert printed[0] == str(PartitionSpec(None, "fsdp", "tensor"))
    assert printed[1] == str(PartitionSpec(None, "tensor", "fsdp"))
    assert printed[2] == str(PartitionSpec(None, "tensor")), "7 does not divide by 2"
    assert printed[3] == str(PartitionSpec(None))
    assert printed[4] == "(2, 1) 28.0"
    assert "6 samples over 4 data-parallel devices" in printed[5]


def test_optimizer_state_is_sharded_like_its_parameters():
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    params = {"a": {"kernel": jnp.zeros((2, 2))}}
    shardings = sharding.parameter_shardings(params, mesh)
    state = {"mu": params, "count": jnp.zeros((), jnp.int32)}
    found = sharding.like(state, params, mesh, shardings)
    assert found["mu"]["a"]["kernel"] == shardings["a"]["kernel"]
    assert found["count"].spec == PartitionSpec()


def test_put_batch_keeps_values():
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    batch = {"images": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    np.testing.assert_array_equal(sharding.put_batch(batch, mesh)["images"], batch["images"])


def test_one_axis_takes_what_the_others_leave():
    mesh = sharding.make_mesh(data=1, fsdp=-1, devices=jax.devices()[:1])
    assert mesh.shape["fsdp"] == 1
    with pytest.raises(InputError, match="data=-1 x fsdp=-1"):
        sharding.make_mesh(data=-1, fsdp=-1, devices=jax.devices()[:1])


def test_a_parameter_without_a_rule_is_an_error():
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    with pytest.raises(InputError, match="part/unheard_of"):
        sharding.parameter_shardings({"part": {"unheard_of": jnp.zeros(2)}}, mesh)
