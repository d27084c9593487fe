"""Blocks in a loop compute what they compute one by one, outputs and gradients, names unchanged."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.models.text import TextTower
from semanticvla_jax.models.vit import PatchEmbed, VisionTower

SIZES = {"width": 8, "depth": 4, "heads": 2, "mlp_width": 16}


def outputs_and_gradients(tower, *arguments):
    def total(params):
        out = tower.apply({"params": params}, *arguments)
        return jnp.sin(out).sum(), out

    params = tower.init(jax.random.key(0), *arguments)["params"]
    (_, out), gradients = jax.value_and_grad(total, has_aux=True)(params)
    return out, gradients


@pytest.mark.parametrize("remat", [False, True])
def test_vision_tower_with_modulated_blocks(remat):
    tower = VisionTower(image_size=4, patch_embed=PatchEmbed(8, 2), layer_scale=0.1, **SIZES)
    pixels = jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    shifts = jax.random.normal(jax.random.key(2), (4, 2, 2, 8))
    modulations = [tuple(block) for block in shifts]
    plain = outputs_and_gradients(tower, pixels, None, modulations)
    looped = outputs_and_gradients(tower.clone(scan=True, remat=remat), pixels, None, modulations)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), plain, looped)


def test_text_tower_with_a_mask():
    tower = TextTower(vocab_size=7, length=5, **SIZES)
    ids, mask = jnp.array([[1, 2, 3, 0]]), jnp.array([[True, True, True, False]])
    plain = outputs_and_gradients(tower, ids, mask)
    looped = outputs_and_gradients(tower.clone(scan=True, remat=True), ids, mask)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), plain, looped)
