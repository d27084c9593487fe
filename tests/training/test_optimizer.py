"""Schedule, freezing, per-group rates, decay masks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import optimizer


def settings(**changes):
    return ConfigDict(
        dict(
            rule="adam",
            learning_rate=0.1,
            warmup_steps=0,
            decay_steps=10,
            final_learning_rate=0.1,
            b1=0.9,
            b2=0.999,
            eps=1e-8,
            weight_decay=0.0,
            decay_mask=".*kernel",
            clip_norm=0.0,
            groups=((".*", 1.0),),
        )
        | changes
    )


def test_warmup_then_cosine_by_hand():
    rate = optimizer.schedule(1.0, warmup_steps=4, decay_steps=8, final=0.0, total_steps=12)
    np.testing.assert_allclose(rate(2), 0.5)
    np.testing.assert_allclose(rate(4), 1.0)
    np.testing.assert_allclose(rate(8), 0.5, atol=1e-6)
    np.testing.assert_allclose(rate(12), 0.0, atol=1e-6)


def test_first_adam_step_moves_each_group_by_its_own_rate():
    params = {"slow": {"kernel": jnp.ones(2)}, "fast": {"kernel": jnp.ones(2)}}
    config = settings(groups=(("slow/.*", 0.1), (".*", 1.0)))
    transform, _ = optimizer.build(config, params, total_steps=10)
    gradients = jax.tree.map(lambda p: 3.0 * p, params)
    updates, _ = transform.update(gradients, transform.init(params), params)
    moved = optax.apply_updates(params, updates)
    np.testing.assert_allclose(moved["fast"]["kernel"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(moved["slow"]["kernel"], 0.99, rtol=1e-6)


def test_only_masked_names_decay():
    params = {"a": {"kernel": jnp.ones(1), "bias": jnp.ones(1)}}
    transform, _ = optimizer.build(settings(weight_decay=0.5), params, total_steps=10)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = transform.update(zero, transform.init(params), params)
    np.testing.assert_allclose(updates["a"]["kernel"], -0.05, rtol=1e-6)
    np.testing.assert_allclose(updates["a"]["bias"], 0.0)


def test_gradients_are_clipped_by_their_global_norm():
    """(3 | 4) has norm 5, clipped to 1: (0.6 | 0.8). Adam's first step is g / (|g| + eps)."""
    params = {"a": {"kernel": jnp.zeros(1)}, "b": {"kernel": jnp.zeros(1)}}
    gradients = {"a": {"kernel": jnp.full(1, 3.0)}, "b": {"kernel": jnp.full(1, 4.0)}}
    transform, _ = optimizer.build(settings(clip_norm=1.0, eps=1.0), params, total_steps=10)
    updates, _ = transform.update(gradients, transform.init(params), params)
    np.testing.assert_allclose(updates["a"]["kernel"], -0.1 * 0.6 / 1.6, rtol=1e-5)
    np.testing.assert_allclose(updates["b"]["kernel"], -0.1 * 0.8 / 1.8, rtol=1e-5)


def test_decay_is_scaled_by_the_groups_rate():
    params = {"slow": {"kernel": jnp.ones(1)}}
    config = settings(weight_decay=0.5, groups=(("slow/.*", 0.1),))
    transform, _ = optimizer.build(config, params, total_steps=10)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = transform.update(zero, transform.init(params), params)
    np.testing.assert_allclose(updates["slow"]["kernel"], -0.1 * 0.1 * 0.5, rtol=1e-5)


def test_a_parameter_without_a_group_is_an_error():
    with pytest.raises(InputError, match="head/kernel.*matched nothing: \\['haed/.*'\\]"):
        optimizer.trainable_names({"head": {"kernel": jnp.ones(1)}}, (("haed/.*", 1.0),))


def test_no_rate_means_frozen():
    params = {"tower": {"kernel": jnp.ones(1)}, "head": {"kernel": jnp.ones(1)}}
    names = optimizer.trainable_names(params, (("tower/.*", None), (".*", 1.0)))
    assert names == {"tower/kernel": False, "head/kernel": True}


def test_muon_orthogonalises_matrices_and_leaves_the_rest_to_adam():
    config = settings(rule="muon", muon=dict(matrices=".*kernel", min_dim=3, beta=0.9, scale=1.0))
    rng = np.random.default_rng(0)
    params = {
        "a": {"kernel": jnp.zeros((4, 4)), "bias": jnp.zeros(4)},
        "head": {"kernel": jnp.zeros((4, 2))},
        "scanned": {"kernel": jnp.zeros((2, 4, 6))},
        "convolution": {"kernel": jnp.zeros((3, 3, 2, 5))},
    }
    gradients = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), params)
    transform, _ = optimizer.build(config, params, total_steps=10)
    updates, _ = transform.update(gradients, transform.init(params), params)
    convolution = updates["convolution"]["kernel"].reshape(18, 5)
    for matrix in (updates["a"]["kernel"], *updates["scanned"]["kernel"], convolution):
        singular = np.linalg.svd(matrix, compute_uv=False)
        # Learning rate 0.1, RMS 0.2 * sqrt(largest side); five iterations orthogonalise roughly.
        np.testing.assert_allclose(singular / (0.02 * max(matrix.shape) ** 0.5), 1, atol=0.4)
    np.testing.assert_allclose(
        updates["head"]["kernel"], -0.1 * np.sign(gradients["head"]["kernel"]), rtol=1e-4
    )
    np.testing.assert_allclose(
        updates["a"]["bias"], -0.1 * np.sign(gradients["a"]["bias"]), rtol=1e-4
    )


def test_unknown_rule():
    with pytest.raises(InputError, match="one of \\['adam', 'muon'\\]"):
        optimizer.build(settings(rule="sgd"), {"a": {"kernel": jnp.ones(1)}}, total_steps=1)
