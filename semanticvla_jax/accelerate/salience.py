"""Who asks: rows whose attention says how much each image token matters now.

Each function maps a View to weights f32[B, R] of its rows, which sum to 1.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate.view import View


def last_row(view: View) -> jax.Array:
    """The last row of the prompt (FastV, arXiv 2403.06764; default of VLA-Pruner's scripts)."""
    columns = jnp.arange(view.rows.index.shape[1])
    return (columns == view.start[:, None] - 1).astype(jnp.float32)


def all_rows(view: View) -> jax.Array:
    """All rows up to the end of the prompt alike: VLA-Pruner's paper, `use_prefil_attention`."""
    return _alike(view.prefix())


def text_rows(view: View) -> jax.Array:
    """The prompt's rows but the first behind the images and the last (`258:-1` as released)."""
    return _alike(_text(view))


def rater_rows(view: View) -> jax.Array:
    """Those of `text_rows` that the images are about: VLA-Pruner's version of SparseVLM."""
    return _raters(view, _text(view))


def question_raters(view: View) -> jax.Array:
    """Those of all rows behind the images that they are about (SparseVLM, arXiv 2410.04417)."""
    columns = jnp.arange(view.rows.index.shape[1])
    return _raters(view, view.prefix() & (columns >= view.rows.visual.stop))


def _raters(view: View, text: jax.Array) -> jax.Array:
    """Weights of raters among text bool[B, R].

    Softmax over the text of each image token's product with each text token, as they enter the
    decoder; text tokens with at least the mean of its average over image tokens are raters.
    """
    present = view.rows.present
    products = jnp.einsum(
        "bnd,brd->bnr", view.image(view.inputs), view.inputs, preferred_element_type=jnp.float32
    )
    relation = jax.nn.softmax(products, axis=-1, where=text[:, None, :])
    relation = jnp.sum(relation, axis=1, where=present[..., None]) / present.sum(1, keepdims=True)
    mean = jnp.sum(relation, axis=1, where=text, keepdims=True) / text.sum(1, keepdims=True)
    return _alike(text & (relation >= mean))


def _text(view: View) -> jax.Array:
    columns = jnp.arange(view.rows.index.shape[1])
    inner = (columns > view.rows.visual.stop) & (columns < view.start[:, None] - 1)
    return inner & view.rows.valid


def _alike(chosen: jax.Array) -> jax.Array:
    """bool[B, R] -> f32[B, R]."""
    weights = chosen.astype(jnp.float32)
    return weights / jnp.maximum(weights.sum(1, keepdims=True), 1)
