"""The assembled model: shapes, independence of batch-mates and padding, noise, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from semanticvla_jax.models.build import build
from tests.models import smallest


@pytest.mark.parametrize("kind", ["tiny", "released"])
def test_outputs(kind):
    model, params, apply = smallest.built(kind)
    actions, details = apply(params, smallest.batch())
    assert actions.shape == (2, 2, 7) and actions.dtype == jnp.float32
    assert set(params) == {"siglip", "dino", "fuser", "pruners", "llm", "coupler", "head"}
    assert details["siglip"]["kept_patches"].shape == (2, 2, 4)
    assert details["siglip"]["similarity"].shape == (2, 2, 16, 5)
    assert details["siglip"]["cue_attention"].shape == (2, 2, 16, 2)
    assert details["image_tokens"].shape == (2, 2, 2 + 4, 16)
    # BOS, two images of 6, proprioception, prompt, 6 action tokens, stop.
    assert details["sequence"].mask.shape == (2, 1, 27, 27)
    np.testing.assert_array_equal(details["sequence"].start, [14 + 6, 14 + 4])


@pytest.mark.parametrize("kind", ["tiny", "released"])
def test_each_sample_is_computed_as_if_alone_and_unpadded(kind):
    _, params, apply = smallest.built(kind)
    batch = smallest.batch()
    together, _ = apply(params, batch)
    alone = {k: v[1:] for k, v in batch.items()}
    alone |= {k: alone[k][:, :4] for k in ("prompt_ids", "prompt_mask")}
    np.testing.assert_allclose(apply(params, alone)[0][0], together[1], atol=1e-5)


def test_everything_given_matters():
    _, params, apply = smallest.built()
    batch = smallest.batch()
    actions, _ = apply(params, batch)
    for key in ("images", "state", "prompt_ids", "text_ids"):
        changed = {**batch, key: batch[key][::-1].copy()}
        difference = np.abs(apply(params, changed)[0] - actions).max()
        assert difference > 1e-6, key


def test_noise_acts_in_training_only():
    model, params, apply = smallest.built()
    batch = smallest.batch()

    @smallest.jit
    def train(key):
        return model.apply({"params": params}, batch, train=True, rngs={"noise": key})

    quiet = apply(params, batch)[1]["siglip"]["similarity"]
    noisy = [train(jax.random.key(i))[1]["siglip"]["similarity"] for i in (0, 0, 1)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert np.abs(noisy[0] - noisy[2]).max() > 0.01
    visible = batch["text_ids"][:, None, None] != 1
    spread = np.where(visible, noisy[0] - quiet, np.nan)
    assert abs(np.nanstd(spread) - 0.1) < 0.02
    np.testing.assert_array_equal(noisy[0][..., ~visible[0, 0, 0]], -1)


def test_every_parameter_of_tiny_receives_a_gradient():
    model, params, _ = smallest.built()
    batch = smallest.batch()
    grads = smallest.jit(
        jax.grad(lambda p: jnp.abs(model.apply({"params": p}, batch)[0] - 1).mean())
    )(params)
    flat = flatten_dict(grads, sep="/")
    assert all(np.isfinite(grad).all() for grad in flat.values())
    silent = {name for name, grad in flat.items() if np.abs(grad).max() == 0}
    # Behind its last block, DINOv2 hands on its queries only: that exchange updates unread patches.
    assert silent == {name for name in flat if "pair_1_dino" in name}


def test_bfloat16_computation_stays_close():
    _, params, apply = smallest.built("released")
    batch = smallest.batch()
    model = build(smallest.released(dtype="bfloat16"))
    actions, details = smallest.jit(lambda p, b: model.apply({"params": p}, b))(params, batch)
    assert actions.dtype == jnp.float32 and details["hidden"].dtype == jnp.bfloat16
    np.testing.assert_allclose(actions, apply(params, batch)[0], atol=0.1)
