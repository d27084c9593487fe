"""Layers that do nothing are found, and leaving them out changes nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.accelerate.layer_skipping import (
    LayerSkipping,
    MeasuredLlama,
    layer_importance,
    with_layers,
)
from semanticvla_jax.models import variants
from semanticvla_jax.models.build import build
from semanticvla_jax.models.llama import Llama
from semanticvla_jax.models.sequence import Landmarks, causal_mask
from tests.models import smallest
from tests.models.smallest import jit


def test_cosines_of_layers_by_hand():
    """An idle layer's is 1; that of a layer which only adds is known from its output."""
    sizes = dict(vocab_size=5, width=8, depth=2, heads=2, mlp_width=8, kernel_init="lecun")
    module = MeasuredLlama(**sizes)
    x = jax.random.normal(jax.random.key(0), (2, 6, 8))
    mask = causal_mask(jnp.ones((2, 6), bool), None, 0)
    landmarks = Landmarks(slice(1, 3), jnp.array([4, 5]))
    params = jit(lambda: Llama(**sizes).init(jax.random.key(1), x, mask))()["params"]
    idle = jax.tree.map(jnp.zeros_like, params["layers_1"])
    params = {**params, "layers_1": idle}

    @jit
    def measure(params):
        shown = module.apply({"params": params}, x, mask, landmarks, mutable=["importance"])[1]
        first = module.apply({"params": params}, x, mask, jnp.arange(6)[None], 0, 1, method="run")
        return shown["importance"]["cosine"][0], first

    cosine, first = (np.asarray(a) for a in measure(params))
    rows = [(b, r) for b, stop in enumerate([4, 5]) for r in range(stop)]
    by_hand = [first[i] @ x[i] / np.linalg.norm(first[i]) / np.linalg.norm(x[i]) for i in rows]
    np.testing.assert_allclose(cosine, [np.mean(by_hand), 1], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("variant, scan", [("openvla_oft", True), ("openvla", False)])
def test_idle_layers_go(variant, scan):
    config = variants.apply(variant, smallest.released())
    config["llm"] |= {"depth": 4, "kernel_init": "lecun", "embed_std": 1.0, "scan": scan}
    model, batch = build(config), smallest.batch()
    params = jit(lambda: model.init(jax.random.key(0), batch))()["params"]
    idle = [1, 3]
    llm = dict(params["llm"])
    for layer in idle:
        for module, name in (("self_attn", "o_proj"), ("mlp", "down_proj")):
            if scan:
                stacked = llm["layers"][module][name]["kernel"]
                llm["layers"][module][name]["kernel"] = stacked.at[layer].set(0)
            else:
                llm[f"layers_{layer}"][module][name]["kernel"] *= 0
    params = {**params, "llm": llm}
    importance = layer_importance(model, params, batch)
    np.testing.assert_allclose(importance[idle], 0, atol=1e-6)
    assert importance[[0, 2]].min() > 0.01

    short, fewer = LayerSkipping(skip=0.5).reshape(model, params, batch)
    assert short.llm.depth == 2
    whole = jit(lambda p: model.apply({"params": p}, batch)[0])(params)
    np.testing.assert_allclose(
        jit(lambda p: short.apply({"params": p}, batch)[0])(fewer), whole, atol=1e-5
    )
    other, fewer = with_layers(model, params, [0, 1])
    changed = jit(lambda p: other.apply({"params": p}, batch)[0])(fewer)
    assert np.abs(changed - whole).max() > 1e-4
