"""SliME-style pruners (arXiv 2406.08487): learned queries gather patches, a text router picks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.models.layers import (
    MLP,
    Dense,
    LayerNorm,
    attention_weights,
    weighted_values,
)
from semanticvla_jax.models.pruners import (
    Condition,
    Selection,
    SentenceBlind,
    Words,
    per_image,
    take_rows,
    top_k_in_order,
    unit,
)


class QueryResampler(nn.Module):
    """Learned queries gather the patches by one cross-attention: [n, N, D] -> [n, queries, D]."""

    queries: int
    width: int
    heads: int
    kernel_init: str
    dense: Callable[..., nn.Module]
    param_dtype: Any

    @nn.compact
    def __call__(self, patches: jax.Array) -> jax.Array:
        normal = nn.initializers.normal(0.02)
        shape = (self.queries, self.width)
        queries = self.param("queries", normal, shape, self.param_dtype).astype(patches.dtype)
        patches = LayerNorm(param_dtype=self.param_dtype, name="norm")(patches)

        def project(x: jax.Array, name: str) -> jax.Array:
            x = self.dense(self.width, kernel_init=self.kernel_init, name=name)(x)
            return x.reshape(*x.shape[:-1], self.heads, -1)

        query = project(jnp.broadcast_to(queries, (patches.shape[0], *shape)), "q")
        weights = attention_weights(query, project(patches, "k"), None)
        out = weighted_values(weights, project(patches, "v")).reshape(patches.shape[0], *shape)
        return queries + self.dense(self.width, kernel_init=self.kernel_init, name="out")(out)


class QueryPruner(SentenceBlind):
    """`anchors` learned queries stand for the patches (SliME's compression).

    Attributes:
      width: of the tower.
      heads: of the cross-attention.
    """

    width: int
    anchors: int = 32
    heads: int = 16
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense
    param_dtype: Any = jnp.float32

    @property
    def gathered(self) -> int:
        """Number of queries."""
        return self.anchors

    def setup(self):
        self.resampler = QueryResampler(
            self.gathered, self.width, self.heads, self.kernel_init, self.dense, self.param_dtype
        )

    def select(self, patches, queries, words, noise) -> Selection:
        """All gathered tokens go on."""
        gathered = self.resampler(patches)
        return Selection(anchors=gathered, cues=gathered[:, :0], details={})


class RoutedQueryPruner(QueryPruner):
    """Gathers `oversampling` times as many, of which those closest to the words go on.

    Score: mean cosine with the instruction's projected, visible words (SliME's text-guided router).
    Kept tokens are weighted by the sigmoid of their score, through which the router learns.
    """

    oversampling: int = 2

    @property
    def gathered(self) -> int:
        return self.oversampling * self.anchors

    def setup(self):
        super().setup()
        widths = (self.width, self.width)
        self.text_projector = MLP(widths, kernel_init=self.kernel_init, dense=self.dense)

    def condition(self, language: jax.Array, words: Words) -> Condition:
        """The words in the patches' space."""
        return Condition(words=Words(self.text_projector(words.states), words.mask))

    def select(self, patches: jax.Array, queries, words: Words, noise) -> Selection:
        """patches[n, N, D], words in their space."""
        gathered = self.resampler(patches)
        projected = per_image(words.states, patches)
        similarity = jnp.einsum("nqd,njd->nqj", unit(gathered), unit(projected))
        visible = per_image(words.mask, patches)[:, None].astype(similarity.dtype)
        scores = (similarity * visible).sum(2) / visible.sum(2)
        kept = top_k_in_order(jax.lax.stop_gradient(scores), self.anchors)
        gain = jax.nn.sigmoid(jnp.take_along_axis(scores, kept, axis=1))[..., None]
        anchors = take_rows(gathered, kept) * gain.astype(gathered.dtype)
        return Selection(anchors, gathered[:, :0], {"router_scores": scores})
