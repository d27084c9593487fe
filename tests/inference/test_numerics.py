"""Types of computation and storage."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.inference import numerics
from semanticvla_jax.models.build import build
from semanticvla_jax.training import parameters
from tests.models import smallest
from tests.models.smallest import jit


def test_parameters_in_the_computations_type_change_no_bit_of_the_actions():
    model = build(smallest.released(dtype="bfloat16"))
    batch = smallest.batch()
    params = jit(lambda: model.init(jax.random.key(0), batch))()["params"]
    stored = numerics.stored_as_computed(model, params)
    apply = jit(lambda p: model.apply({"params": p}, batch)[0])
    np.testing.assert_array_equal(apply(stored), apply(params))
    types = {name: leaf.dtype for name, leaf in parameters.flatten(stored).items()}
    kernels = {types[name] for name in types if name.endswith(("kernel", "embedding"))}
    assert kernels == {jnp.dtype("bfloat16")}
    assert types["dino/blocks_0/attn/qkv/bias"] == jnp.bfloat16
    assert types["dino/blocks_0/norm1/bias"] == types["llm/norm/scale"] == jnp.float32


def test_parts_keep_a_type_of_their_own():
    config = smallest.released(dtype="bfloat16")
    config["head"]["dtype"] = "float32"
    model = build(config)
    params = jit(lambda: model.init(jax.random.key(0), smallest.batch()))()["params"]
    flat = parameters.flatten(numerics.stored_as_computed(model, params))
    head = {leaf.dtype for name, leaf in flat.items() if name.startswith("head/")}
    assert head == {jnp.dtype("float32")}


def test_another_type_reaches_every_part():
    config = smallest.released(dtype="bfloat16")
    config["head"]["dtype"] = "bfloat16"
    config["llm"]["param_dtype"] = "bfloat16"
    changed = numerics.computing_in(config, "float32")
    assert changed["dtype"] == "float32" and "dtype" not in changed["head"]
    assert changed["llm"]["param_dtype"] == "bfloat16" and config["dtype"] == "bfloat16"
    assert numerics.computing_in(config, "") == config
    with pytest.raises(InputError, match="--dtype"):
        numerics.computing_in(config, "float8")


def test_bytes():
    tree = {"a": jnp.zeros((3, 2), jnp.bfloat16), "b": jnp.zeros(8, jnp.int4)}
    assert numerics.parameter_bytes(tree) == 12 + 4
