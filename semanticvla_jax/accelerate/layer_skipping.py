"""EfficientVLA's layer pruning: decoder layers that change little are left out (2506.10100)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.accelerate.decoder import check_plain
from semanticvla_jax.models.llama import Llama
from semanticvla_jax.models.sequence import causal_mask


class MeasuredLlama(Llama):
    """Llama that sows the mean cosine of what enters and what leaves each layer, f32[depth].

    Over rows up to the last action placeholder, or word's prefix, of all samples; into the
    collection `importance` as `cosine`.
    """

    def __call__(self, x, mask, landmarks=None):
        self._measure(x, mask, landmarks.start + landmarks.actions)
        return super().__call__(x, mask, landmarks)

    def prefill(self, x, landmarks, room):
        valid = jnp.arange(x.shape[1])[None] < landmarks.start[:, None]
        self._measure(x, causal_mask(valid, landmarks.start, 0), landmarks.start)
        return super().prefill(x, landmarks, room)

    def _measure(self, x, mask, stop) -> None:
        rows = jnp.arange(x.shape[1])
        counted, cosines = rows[None] < stop[:, None], []
        for layer in range(self.depth):
            after = self.run(x, mask, rows[None], layer, layer + 1)
            a, b = x.astype(jnp.float32), after.astype(jnp.float32)
            lengths = jnp.linalg.norm(a, axis=-1) * jnp.linalg.norm(b, axis=-1)
            cosine = (a * b).sum(-1) / jnp.maximum(lengths, 1e-12)
            cosines.append(jnp.mean(cosine, where=counted))
            x = after
        self.sow("importance", "cosine", jnp.stack(cosines))


def layer_importance(model: Any, params: Any, batch: Mapping[str, Any]) -> np.ndarray:
    """f32[depth], one minus the mean cosine of each decoder layer's input and output.

    Args:
      model: SemanticVLA.
      batch: observations that are typical, as the model takes them.
    """
    check_plain(model.llm, 0)
    fields = {f.name: getattr(model.llm, f.name) for f in dataclasses.fields(Llama)}
    measured = model.clone(llm=MeasuredLlama(**fields | {"parent": None, "name": None}))

    @jax.jit
    def measure(params, batch):
        _, shown = measured.apply({"params": params}, batch, mutable=["importance"])
        return 1 - shown["importance"]["llm"]["cosine"][0]

    return np.asarray(measure(params, batch))


def with_layers(model: Any, params: Mapping, layers: Sequence[int]) -> tuple[Any, dict]:
    """The model with some of its decoder layers, in order, and their parameters."""
    llm = dict(params["llm"])
    if model.llm.scan:
        llm["layers"] = jax.tree.map(lambda x: x[np.asarray(layers)], llm["layers"])
    else:
        kept = {f"layers_{i}": llm[f"layers_{layer}"] for i, layer in enumerate(layers)}
        llm = {n: leaf for n, leaf in llm.items() if not n.startswith("layers_")} | kept
    return model.clone(llm=model.llm.clone(depth=len(layers))), {**params, "llm": llm}


@dataclasses.dataclass(frozen=True)
class LayerSkipping:
    """The least important layers are left out, once and for all; the rest runs as it is.

    Of EfficientVLA's three parts this is the one that concerns the decoder of any policy; its
    choice of image tokens and its caching in a diffusion head are not here. The paper leaves 22 of
    32 layers.

    Attributes:
      skip: share of the layers.
    """

    skip: float = 10 / 32
    name: str = "efficient_vla"

    def reshape(self, model: Any, params: Any, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Model and parameters with the layers that matter for `batch`."""
        importance = layer_importance(model, params, batch)
        gone = np.argsort(importance, kind="stable")[: round(self.skip * len(importance))]
        layers = [i for i in range(len(importance)) if i not in gone]
        return with_layers(model, params, layers)
