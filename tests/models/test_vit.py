"""Vision tower: token order, positions, ranges of blocks, stems."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.models.vit import (
    HALF,
    ConvolutionalStem,
    PatchEmbed,
    VisionTower,
    space_to_depth,
)
from tests.models.smallest import jit


def tower(**changes) -> VisionTower:
    arguments = dict(
        image_size=4,
        width=2,
        depth=2,
        heads=1,
        mlp_width=4,
        patch_embed=PatchEmbed(2, 2),
        class_token=True,
        registers=1,
    )
    return VisionTower(**arguments | changes)


def initialised(module, *args):
    return jit(lambda: module.init(jax.random.key(0), *args))()["params"]


def test_space_to_depth_keeps_raster_order():
    x = jnp.arange(16).reshape(1, 4, 4, 1)
    out = space_to_depth(x, 2)
    np.testing.assert_array_equal(out[0, 0, 0], [0, 1, 4, 5])
    np.testing.assert_array_equal(out[0, 1, 0], [8, 9, 12, 13])


def test_tokens_are_class_registers_patches_queries_and_only_patches_get_positions():
    pixels = jnp.zeros((1, 4, 4, 3))
    module, queries = tower(), jnp.full((2, 2), 7.0)
    params = initialised(module, pixels)
    params["patch_embed"]["proj"]["bias"] = jnp.zeros(2)
    params |= {
        "cls_token": jnp.full((1, 1, 2), 1.0),
        "reg_token": jnp.full((1, 1, 2), 2.0),
        "pos_embed": jnp.arange(10.0, 18.0).reshape(1, 4, 2),
    }
    tokens = module.apply({"params": params}, pixels, queries, method="embed")
    np.testing.assert_array_equal(tokens[0, :, 0], [1, 2, 10, 12, 14, 16, 7, 7])
    prefix, patches, appended = module.split(tokens)
    assert (prefix.shape[1], patches.shape[1], appended.shape[1]) == (2, 4, 2)

    older = tower(position_on_class=True)
    params["pos_embed"] = jnp.arange(10.0, 20.0).reshape(1, 5, 2)
    tokens = older.apply({"params": params}, pixels, method="embed")
    np.testing.assert_array_equal(tokens[0, :, 0], [1 + 10, 2, 12, 14, 16, 18])


def test_each_camera_has_its_own_positions():
    pixels = jnp.zeros((4, 4, 4, 3))  # two observations of two cameras, camera fastest
    module = tower(cameras=2, class_token=False, registers=0)
    params = initialised(module, pixels)
    params["patch_embed"]["proj"]["bias"] = jnp.zeros(2)
    params["pos_embed"] = jnp.stack([jnp.zeros((4, 2)), jnp.ones((4, 2))])
    tokens = module.apply({"params": params}, pixels, method="embed")
    np.testing.assert_array_equal(tokens[:, 0, 0], [0, 1, 0, 1])


def test_ranges_of_blocks_compose_and_blocks_behind_the_feature_layer_do_not_exist():
    pixels = jax.random.normal(jax.random.key(1), (1, 4, 4, 3))
    module = tower(depth=3, feature_layer=-2)
    params = initialised(module, pixels)
    assert {name for name in params if "blocks" in name} == {"blocks_0", "blocks_1"}

    def in_ranges(m, pixels):
        return m.run(m.run(m.embed(pixels), 0, 1), 1, 2)

    whole = module.apply({"params": params}, pixels)
    np.testing.assert_array_equal(module.apply({"params": params}, pixels, method=in_ranges), whole)


def test_normalisation():
    module = tower(mean=HALF[0], std=HALF[1])
    images = jnp.array([0, 255], jnp.uint8)[:, None, None, None] * jnp.ones((1, 1, 1, 3), jnp.uint8)
    np.testing.assert_allclose(module.normalise(images)[:, 0, 0, 0], [-1.0, 1.0])


@pytest.mark.parametrize("last_merge, grid", [(1, 2), (2, 1)])
def test_convolutional_stem_overlaps_but_patches_do_not(last_merge, grid):
    stem = ConvolutionalStem(3, stages=((2, 4, 4), (2, 4, 4)), last_merge=last_merge)
    assert stem.patch == 4 * last_merge
    pixels = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))

    def influence(module):
        params = initialised(module, pixels)
        changed = pixels.at[0, 0, 0].add(1.0)
        apply = jit(module.apply)
        out = [apply({"params": params}, x) for x in (pixels, changed)]
        return np.abs(out[0] - out[1]).max(-1)[0] > 0

    assert influence(stem).shape == (grid, grid)
    reached = influence(PatchEmbed(3, 4))
    np.testing.assert_array_equal(reached, [[True, False], [False, False]])
    if grid > 1:
        assert influence(stem)[0, 1]
