"""Heads: order of dimensions and what each output sees. Fusers: what meets what."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.models import fusers, heads
from semanticvla_jax.models.pruners import Selection
from tests.models.smallest import jit


def test_dimensions_return_to_their_places():
    parts = [jnp.array([0.0, 7.0]), jnp.array([6.0, 13.0])]
    np.testing.assert_array_equal(heads.in_action_order(parts, [(0, 2), (1, 3)]), [0, 6, 7, 13])


def test_bimanual_head_interleaves_the_arms():
    head = heads.ResidualMLPHead(heads.BIMANUAL)
    states = jax.random.normal(jax.random.key(0), (1, 2, 6, 4))
    params = jit(head.init)(jax.random.key(1), states)["params"]
    for kind, value in (("trans", 1.0), ("rot", 2.0), ("grip", 3.0)):
        last = jax.tree.map(jnp.zeros_like, params[kind]["fc2"])
        params[kind]["fc2"] = last | {"bias": value + jnp.arange(last["bias"].size) / 10}
    out = jit(head.apply)({"params": params}, states)
    assert out.shape == (1, 2, 14)
    left = [1.0, 1.1, 1.2, 2.0, 2.1, 2.2, 3.0]
    right = [1.3, 1.4, 1.5, 2.3, 2.4, 2.5, 3.1]
    np.testing.assert_allclose(out[0, 0], left + right, atol=1e-6)


def influence(head) -> np.ndarray:
    """bool[token, action dimension] within one step, and no other step."""
    states = jax.random.normal(jax.random.key(0), (1, 2, 3, 4))
    params = jit(head.init)(jax.random.key(1), states)
    jacobian = jit(jax.jacobian(lambda s: head.apply(params, s)[0]))(states)[:, :, 0]
    reached = np.abs(jacobian).sum(-1) > 0  # [K, A, K, T]
    assert not reached[0, :, 1].any() and not reached[1, :, 0].any()
    return reached[0, :, 0].T


def test_released_head_sees_all_tokens_of_its_step_and_the_papers_only_its_own():
    assert influence(heads.ResidualMLPHead()).all()
    own = [[1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 1]]
    np.testing.assert_array_equal(influence(heads.PerTokenHead()), np.array(own, bool))


def test_both_towers_are_updated_from_values_before_any_update():
    dino, siglip = jnp.full((1, 1, 2), 1.0), jnp.full((1, 1, 1), 10.0)

    def sum_of_inputs(params):
        """Makes every MLP return the sum of the concatenation, in each channel."""
        ones = {"fc1": jnp.eye(3), "fc2": None}
        for mlp in params.values():
            mlp["fc1"] = {"kernel": ones["fc1"], "bias": jnp.zeros(3)}
            width = mlp["fc2"]["bias"].size
            mlp["fc2"] = {"kernel": jnp.ones((3, width)), "bias": jnp.zeros(width)}
        return params

    for kind, kept in ((fusers.ResidualDenseFuser, 1), (fusers.ReplacingDenseFuser, 0)):
        module = kind(pairs=((0, 0),), activation="relu")
        params = sum_of_inputs(module.init(jax.random.key(0), 0, dino, siglip)["params"])
        assert set(params) == {"pair_0_dino", "pair_0_siglip"}
        new_dino, new_siglip = module.apply({"params": params}, 0, dino, siglip)
        np.testing.assert_allclose(new_dino, kept * 1 + 12)
        np.testing.assert_allclose(new_siglip, kept * 10 + 12)


def test_sparse_fuser_puts_cues_first_and_joins_dino_before_siglip():
    module = fusers.SparseFuser(llm_width=4, hidden_ratio=2)
    dino = Selection(jnp.ones((1, 3, 2)), jnp.zeros((1, 0, 2)), {})
    siglip = Selection(jnp.ones((1, 3, 1)), jnp.ones((1, 2, 1)), {})
    params = jit(module.init)(jax.random.key(0), dino, siglip)["params"]
    apply = jit(lambda params, siglip: module.apply({"params": params}, dino, siglip))
    assert set(params) == {"projector", "siglip_cue_projector"}
    assert params["projector"]["fc1"]["kernel"].shape == (3, 6)
    out = apply(params, siglip)
    assert out.shape == (1, 5, 4)
    # Cutting SigLIP's row of the first layer equals zero SigLIP anchors: it comes last.
    kernel = params["projector"]["fc1"]["kernel"]
    params["projector"]["fc1"]["kernel"] = kernel.at[2].set(0)
    without = apply(params, siglip)
    params["projector"]["fc1"]["kernel"] = kernel
    silent = siglip._replace(anchors=jnp.zeros((1, 3, 1)))
    np.testing.assert_allclose(apply(params, silent)[:, 2:], without[:, 2:], atol=1e-6)
