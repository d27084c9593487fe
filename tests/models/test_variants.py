"""Variants: each builds, trains a step and decodes; what each one passes to the decoder."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.models import presets, variants
from semanticvla_jax.models.build import build
from tests.models import smallest
from tests.models.smallest import jit

# Image tokens per image of the smallest model: 16 patches, 4 anchors, 2 cues.
TOKENS = {
    "released": 6,
    "released_training": 6,
    "paper": 6,
    "r4": 4 + 2,
    "r8": 2 + 2,
    "r16": 1 + 2,
    "lite": 1 + 2,
    "r32": None,  # fewer than one patch
    "sa_siglip_id_dino": 6,
    "id_both": 4 + 2 + 2,
    "sa_both": 4,
    "slime": 6,
    "fastv": 16,
    "no_fuser": 6,
    "no_coupler": 6,
    "no_fuser_no_coupler": 6,
    "flow": 6,
    "openvla_oft": 16,
    "openvla_oft_film": 16,
    "openvla": 16,
    "pd_vla": 16,
}


def config_of(name: str) -> dict:
    base = smallest.released()
    base["llm"] |= {"depth": 3, "scan": True}
    return variants.apply(name, base)


def batch() -> dict:
    targets = np.random.default_rng(1).uniform(-1, 1, (2, 2, 7)).astype(np.float32)
    return {**smallest.batch(), "actions": targets}


def test_every_variant_is_listed_here():
    assert set(TOKENS) == set(variants.VARIANTS)


def random_params(model, seed: int = 0) -> dict:
    """Parameters of the right shapes, without compiling an initialisation."""
    keys = {"params": jax.random.key(0), "noise": jax.random.key(1)}
    shapes = jax.eval_shape(lambda: model.init(keys, batch()))["params"]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), shapes)


@pytest.mark.parametrize("name", [name for name, tokens in TOKENS.items() if tokens])
def test_builds_trains_a_step_and_decodes(name):
    model = build(config_of(name))
    params = random_params(model)

    @jit
    def step(params):
        rngs = {"noise": jax.random.key(2)}

        def loss(params):
            arguments = batch(), jnp.ones(7)
            return model.apply({"params": params}, *arguments, rngs=rngs, method="supervise")

        (value, taught), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        return value, taught, jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradients)

    value, taught, changed = step(params)
    after, _, _ = step(changed)
    assert np.isfinite(value) and after < value
    actions, details = jit(lambda p: model.apply({"params": p}, batch()))(params)
    assert taught.shape == actions.shape == (2, 2, 7)
    assert np.isfinite(actions).all()
    assert details["image_tokens"].shape[2] == TOKENS[name]


def test_sizes_are_what_they_are_called():
    def millions(config) -> float:
        model = build(config)
        one = {
            "images": jnp.zeros((1, 2, 224, 224, 3), jnp.uint8),
            "state": jnp.zeros((1, 8)),
            "prompt_ids": jnp.zeros((1, 4), int),
            "prompt_mask": jnp.ones((1, 4), bool),
            "text_ids": jnp.zeros((1, 64), int),
        }
        shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), one))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes)) / 1e6

    assert 100 < millions(presets.released(presets.SIZES["small"])) < 130
    assert 480 < millions(presets.released(presets.SIZES["base"])) < 580


def test_unknown_variant_is_named():
    with pytest.raises(InputError, match="'r5', expected one of released"):
        variants.apply("r5", smallest.released())
