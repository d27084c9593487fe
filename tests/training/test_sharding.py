"""Meshes and sharding rules, on eight simulated devices in a process of their own."""

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import parameters, sharding


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
    assert printed[0] == str(P(None, "fsdp", "tensor"))
    assert printed[1] == str(P(None, "tensor", "fsdp"))
    assert printed[2] == str(P(None, "tensor")), "7 does not divide by 2"
    assert printed[3] == str(P(None))
    assert printed[4] == "(2, 1) 28.0"
    assert "6 samples over 4 data-parallel devices" in printed[5]


def shape(*dimensions):
    return jax.ShapeDtypeStruct(dimensions, jnp.float32)


# On data=2, fsdp=4, tensor=2. An MLP of 16 -> 32 -> 16, attention of width 16, adapters of rank 8.
SPECS = {
    "llm/layers/self_attn/q_proj/kernel": ((3, 16, 16), P(None, "fsdp", "tensor")),
    "llm/layers/self_attn/q_proj/lora_a": ((3, 16, 8), P(None, "fsdp", None)),
    "llm/layers/self_attn/q_proj/lora_b": ((3, 8, 16), P(None, None, ("tensor", "fsdp"))),
    "llm/layers/self_attn/o_proj/kernel": ((3, 16, 16), P(None, "tensor", "fsdp")),
    "llm/layers/self_attn/o_proj/lora_a": ((3, 16, 8), P(None, ("tensor", "fsdp"), None)),
    "llm/layers/self_attn/o_proj/lora_b": ((3, 8, 16), P(None, None, "fsdp")),
    "llm/embed_tokens/embedding": ((64, 16), P(None, "fsdp")),
    "siglip/blocks_0/attn/qkv/kernel": ((16, 48), P("fsdp", None)),
    "siglip/blocks_0/mlp/fc1/kernel": ((16, 32), P("fsdp", "tensor")),
    "siglip/blocks_0/mlp/fc1/bias": ((32,), P("tensor")),
    "siglip/blocks_0/mlp/fc2/kernel": ((32, 16), P("tensor", "fsdp")),
    "siglip/blocks_0/mlp/fc2/bias": ((16,), P(None)),
    "siglip/patch_embed/proj/kernel": ((14, 14, 3, 16), P(None, None, None, None)),
    "head/fc2/kernel": ((16, 7), P("tensor", None)),  # 7 does not divide by 4
}


def test_specs_by_hand():
    mesh = AbstractMesh((2, 4, 2), sharding.AXES)
    shapes = parameters.unflatten({name: shape(*size) for name, (size, _) in SPECS.items()})
    found = parameters.flatten(sharding.parameter_shardings(shapes, mesh))
    assert {name: found[name].spec for name in SPECS} == {name: s for name, (_, s) in SPECS.items()}


def test_a_large_dimension_that_stays_whole_is_told(caplog):
    """SigLIP's MLP has 4,304 = 16 * 269 neurons, which 32 devices do not divide."""
    mesh = AbstractMesh((1, 128, 32), sharding.AXES)
    shapes = {"mlp": {"fc1": {"kernel": shape(1152, 4304)}}, "s": {"fc1": {"kernel": shape(3, 3)}}}
    with caplog.at_level("WARNING"):
        found = sharding.parameter_shardings(shapes, mesh)
    assert found["mlp"]["fc1"]["kernel"].spec == P("fsdp", None)
    assert found["s"]["fc1"]["kernel"].spec == P(None, None)
    assert [record.getMessage() for record in caplog.records] == [
        "mlp/fc1/kernel[1152, 4304]: 32 devices of mesh axis tensor do not divide dimension 1, "
        "which stays whole"
    ]


class Device(NamedTuple):
    process_index: int


@pytest.mark.parametrize(
    "owners, axes, shares",
    [
        # Two processes of two devices: halves of the batch, whichever of data and fsdp splits it.
        ([0, 0, 1, 1], (2, 2, 1), [(0, 2), (1, 2)]),
        ([0, 0, 1, 1], (1, 4, 1), [(0, 2), (1, 2)]),
        ([0, 0, 1, 1], (2, 1, 2), [(0, 2), (1, 2)]),
        # A row of the tensor axis over both processes: each feeds the whole batch.
        ([0, 0, 1, 1], (1, 1, 4), [(0, 1), (0, 1)]),
        # Four processes, two to a row: the two of a row feed the same half.
        ([0, 1, 2, 3], (2, 1, 2), [(0, 2), (0, 2), (1, 2), (1, 2)]),
    ],
)
def test_parts_of_the_batch_by_hand(owners, axes, shares):
    devices = np.empty(len(owners), object)
    devices[:] = [Device(owner) for owner in owners]
    mesh = SimpleNamespace(
        devices=devices.reshape(axes), shape=dict(zip(sharding.AXES, axes, strict=True))
    )
    found = [sharding.batch_share(mesh, process) for process in range(max(owners) + 1)]
    assert found == shares


def test_optimizer_state_is_sharded_like_its_parameters():
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    params = {"a": {"kernel": jnp.zeros((2, 2))}}
    shardings = sharding.parameter_shardings(params, mesh)
    state = {"mu": params, "count": jnp.zeros((), jnp.int32)}
    found = sharding.like(state, params, mesh, shardings)
    assert found["mu"]["a"]["kernel"] == shardings["a"]["kernel"]
    assert found["count"].spec == P()


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
