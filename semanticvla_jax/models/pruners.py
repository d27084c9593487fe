"""Semantic-guided pruners: what a tower is told about the instruction, and what it hands on.

A pruner offers three methods, so that any pruner can stand at either tower:
  appended() -> tokens [Q, D] that the tower carries behind its patches, or None;
  condition(language, words) -> Condition, what depends on the sentence alone;
  select(patches, queries, words, noise) -> Selection, `words` being its Condition's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.models.layers import MLP, Dense
from semanticvla_jax.models.text import TextTower
from semanticvla_jax.models.vit import Modulation


class Selection(NamedTuple):
    """What a pruner keeps of n images.

    anchors: [n, h, D] tokens that meet the other tower's anchors, in raster or query order.
    cues: [n, k, D] tokens that go to the language model by themselves; k may be 0.
    details: arrays that explain the choice, all with leading n.
    """

    anchors: jax.Array
    cues: jax.Array
    details: dict[str, jax.Array]


class Words(NamedTuple):
    """The instruction word by word: states [B, M, Dt], mask bool[B, M], False where hidden."""

    states: jax.Array
    mask: jax.Array


class Condition(NamedTuple):
    """What sentences tell one tower and its pruner; every array has a leading [B].

    modulations: (scale, shift) of each of the tower's blocks, each [B, D]; None: not modulated.
    words: in the patches' space, for a pruner that compares them; None: it does not.
    """

    modulations: list[Modulation] | None = None
    words: Words | None = None


class SentenceBlind(nn.Module):
    """A pruner that appends nothing and hears nothing."""

    def appended(self) -> jax.Array | None:
        """[Q, D] or None."""
        return None

    def condition(self, language: jax.Array, words: Words | None) -> Condition:
        """language [B, d], the words -> what `select` and the tower are told."""
        return Condition()


def mean_without_pads(embeddings: jax.Array, valid: jax.Array) -> jax.Array:
    """[B, P, d], bool[B, P] -> [B, d], the mean of the valid positions."""
    weights = valid.astype(embeddings.dtype)[..., None]
    return (embeddings * weights).sum(1) / weights.sum(1)


def mean_with_pads(embeddings: jax.Array, valid: jax.Array) -> jax.Array:
    """The mean of all positions, as the released training does: depends on the batch's padding."""
    del valid
    return embeddings.mean(1)


def per_image(x: jax.Array, patches: jax.Array) -> jax.Array:
    """What belongs to a sentence, [B, ...], once for each image of patches[B I, N, D]."""
    return jnp.repeat(x, patches.shape[0] // x.shape[0], axis=0)


def top_k_in_order(scores: jax.Array, k: int) -> jax.Array:
    """f32[n, N] -> int32[n, k]: indices of the k largest, ascending."""
    return jnp.sort(jax.lax.top_k(scores, k)[1], axis=-1)


def take_rows(x: jax.Array, index: jax.Array) -> jax.Array:
    """x[n, N, D], int32[n, k] -> [n, k, D]."""
    return jnp.take_along_axis(x, index[..., None], axis=1)


def unit(x: jax.Array) -> jax.Array:
    """Rows divided by max(norm, 1e-12)."""
    squared = jnp.square(x.astype(jnp.float32)).sum(-1, keepdims=True)
    return (x * jax.lax.rsqrt(jnp.maximum(squared, 1e-24))).astype(x.dtype)


class InstructionDrivenPruner(SentenceBlind):
    """ID-Pruner (eq. 2-5; TextGuidedSampler): the instruction picks patches and gathers cues.

    S[i, j] = cosine of patch i and projected word j; hidden words get -1.
    Anchors (L->V): the `anchors` patches with the largest mean over all words, in raster order.
    Cues (V->L): for each of the `cues` words with the largest mean over all patches, in order, the
    patches' average under softmax_i(S[i, word] / temperature).

    Attributes:
      width: of the tower.
      text_layers: of the map from words to patches; the released code has two, the paper one.
      noise: std of the Gaussian noise added to S in training, before words are hidden.
    """

    width: int
    anchors: int = 32
    cues: int = 5
    temperature: float = 1.0
    text_layers: int = 2
    noise: float = 0.1
    activation: str = "gelu_exact"
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense

    def setup(self):
        widths = (self.width,) * self.text_layers
        self.text_projector = MLP(widths, self.activation, self.kernel_init, dense=self.dense)

    def condition(self, language: jax.Array, words: Words) -> Condition:
        """The words in the patches' space; the tower itself runs as it is."""
        return Condition(words=Words(self.text_projector(words.states), words.mask))

    def select(
        self,
        patches: jax.Array,
        queries: jax.Array,
        words: Words,
        noise: jax.Array | None,
    ) -> Selection:
        """patches[n, N, D], words in their space [B, M, D], noise f32[n, N, M] or None."""
        projected = per_image(words.states, patches)
        similarity = jnp.einsum("nid,njd->nij", unit(patches), unit(projected)).astype(jnp.float32)
        if noise is not None:
            similarity = similarity + self.noise * noise
        similarity = jnp.where(per_image(words.mask, patches)[:, None], similarity, -1.0)
        patch_scores, word_scores = similarity.mean(2), similarity.mean(1)
        kept = top_k_in_order(jax.lax.stop_gradient(patch_scores), self.anchors)
        chosen = top_k_in_order(jax.lax.stop_gradient(word_scores), self.cues)
        columns = jnp.take_along_axis(similarity, chosen[:, None, :], axis=2)
        attention = jax.nn.softmax(columns / self.temperature, axis=1).astype(patches.dtype)
        return Selection(
            anchors=take_rows(patches, kept),
            cues=jnp.einsum("nik,nid->nkd", attention, patches),
            details={
                "words": projected,
                "similarity": similarity,
                "patch_scores": patch_scores,
                "word_scores": word_scores,
                "kept_patches": kept,
                "cue_words": chosen,
                "cue_attention": attention,
            },
        )


class FiLM(nn.Module):
    """Feature-wise modulation (eq. 6): language [B, d] -> (scale, shift), each [B, width]."""

    width: int
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense

    @nn.compact
    def __call__(self, language: jax.Array) -> Modulation:
        return (
            self.dense(self.width, kernel_init=self.kernel_init, name="scale")(language),
            self.dense(self.width, kernel_init=self.kernel_init, name="shift")(language),
        )


QUERY_INITIALIZERS = {
    "normal_1": nn.initializers.normal(1.0),
    "normal_0.1": nn.initializers.normal(0.1),
    "zeros": nn.initializers.zeros,
}


class SpatialAggregationPruner(SentenceBlind):
    """SA-Pruner (eq. 6-7): aggregation tokens in a tower whose blocks the language modulates.

    Attributes:
      width, depth: of the tower.
      queries: number of aggregation tokens.
      query_init: the released code starts from N(0, 1), the paper from zeros.
      film: modulate the blocks.
    """

    width: int
    depth: int
    queries: int = 32
    query_init: str = "normal_1"
    film: bool = True
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense
    param_dtype: Any = jnp.float32

    def setup(self):
        self.vision_queries = self.param(
            "queries",
            QUERY_INITIALIZERS[self.query_init],
            (self.queries, self.width),
            self.param_dtype,
        )
        if self.film:
            self.films = [FiLM(self.width, self.kernel_init, self.dense) for _ in range(self.depth)]

    def appended(self) -> jax.Array:
        """The aggregation tokens [Q, D]."""
        return self.vision_queries

    def condition(self, language: jax.Array, words: Words | None) -> Condition:
        """language[B, d] -> (scale, shift) of each block, each [B, D]."""
        return Condition([film(language) for film in self.films] if self.film else None)

    def select(self, patches, queries, words, noise) -> Selection:
        """Only the aggregation tokens go on."""
        return Selection(anchors=queries, cues=queries[:, :0], details={})


class KeepAll(SentenceBlind):
    """No pruning: all patches go on."""

    def select(self, patches, queries, words, noise) -> Selection:
        return Selection(anchors=patches, cues=patches[:, :0], details={})


class ModulatedKeepAll(KeepAll):
    """No pruning, but the language modulates the tower's blocks (OpenVLA-OFT's FiLM option)."""

    width: int
    depth: int
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense

    def setup(self):
        self.films = [FiLM(self.width, self.kernel_init, self.dense) for _ in range(self.depth)]

    def condition(self, language: jax.Array, words: Words | None) -> Condition:
        """language[B, d] -> (scale, shift) of each block, each [B, D]."""
        return Condition([film(language) for film in self.films])


class Pruners(nn.Module):
    """The pruner of each tower, and what they are told about the instruction.

    Attributes:
      text_encoder: reads the words for pruners that compare them with patches; None if none does.
      pooling: token embeddings -> the language vector that modulates towers.
      pad_id: text id that is hidden, from the encoder too (SigLIP's pad is also its end token).
    """

    siglip: nn.Module
    dino: nn.Module
    text_encoder: TextTower | None = None
    pooling: Callable[[jax.Array, jax.Array], jax.Array] = mean_without_pads
    pad_id: int = 1

    def condition(
        self, embeddings: jax.Array, valid: jax.Array, text_ids: jax.Array
    ) -> dict[str, Condition]:
        """What sentences tell each tower.

        Args:
          embeddings: [B, P, d], of the language positions.
          valid: bool[B, P].
          text_ids: int32[B, M].
        """
        language, words = self.pooling(embeddings, valid), self.read(text_ids)
        return {name: pruner.condition(language, words) for name, pruner in self._both()}

    def appended(self) -> dict[str, jax.Array | None]:
        """The tokens [Q, D] that each tower carries behind its patches."""
        return {name: pruner.appended() for name, pruner in self._both()}

    def read(self, text_ids: jax.Array) -> Words | None:
        """int32[B, M] -> the words' states, once for all images and towers."""
        if self.text_encoder is None:
            return None
        mask = text_ids != self.pad_id
        return Words(self.text_encoder(text_ids, mask), mask)

    def select(
        self,
        features: dict[str, tuple[jax.Array, jax.Array]],
        conditions: dict[str, Condition],
        noise: jax.Array | None = None,
        train: bool = False,
    ) -> dict[str, Selection]:
        """What each tower hands on.

        Args:
          features: (patches [B I, N, D], queries [B I, Q, D]) of each tower.
          conditions: of each tower, for B sentences.
          noise: f32[B, I, N, M] ~ N(0, 1) to use in training instead of drawing from rng 'noise'.
          train: add noise.
        """
        selected = {}
        for name, pruner in self._both():
            (patches, queries), words = features[name], conditions[name].words
            drawn = None
            if train and getattr(pruner, "noise", 0):
                shape = (*patches.shape[:2], words.mask.shape[1])
                drawn = self._noise(shape) if noise is None else noise.reshape(shape)
            selected[name] = pruner.select(patches, queries, words, drawn)
        return selected

    def _both(self) -> tuple[tuple[str, nn.Module], ...]:
        return ("siglip", self.siglip), ("dino", self.dino)

    def _noise(self, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.normal(self.make_rng("noise"), shape)
