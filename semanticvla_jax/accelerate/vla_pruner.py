"""VLA-Pruner: tokens that the instruction or the last actions looked at (arXiv 2511.16449)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate import salience
from semanticvla_jax.accelerate.history import History, oldest_heaviest
from semanticvla_jax.accelerate.redundancy import max_min_mask
from semanticvla_jax.accelerate.selection import top_mask
from semanticvla_jax.accelerate.view import Choice, Cut, View


def input_features(view: View) -> jax.Array:
    """Image tokens as they entered the decoder, [B, n, d], as released."""
    return view.image(view.inputs)


def hidden_features(view: View) -> jax.Array:
    """Image tokens as they would enter the layer, [B, n, d]."""
    return view.image(view.hidden)


@dataclasses.dataclass(frozen=True)
class VLAPruner:
    """Before one early layer, half of the image tokens (or more) are dropped.

    Two sets of `keep` tokens each are united: those with the largest score now, and those that
    the actions of the last `window` steps attended to most. Of the union, `keep` that differ most
    go on (greedy max-min distance; scores play no further part, as released). Until the episode
    has `window` steps behind it everything stays.

    For parallel decoding, which the released code does not have, the action placeholders' rows at
    `watched` of the same pass are what the actions attended to, and scores are asked of prefix
    rows only. All images of an observation share one budget.

    Attributes:
      drop: share of the image tokens that goes; round() of the rest stays, as in Python.
      before: first layer without them, 0-based.
      watched: layer whose action rows are remembered.
      window, decay: of the memory; `weighting` makes its weights, oldest first.
      rows: who is asked about scores now; see salience.
      features: what redundancy is measured on.
    """

    drop: float = 0.5
    before: int = 3
    watched: int = 15
    window: int = 3
    decay: float = 0.8
    weighting: Callable[[int, float], jax.Array] = oldest_heaviest
    rows: Callable[[View], jax.Array] = salience.last_row
    features: Callable[[View], jax.Array] = input_features
    name: str = "vla_pruner"

    def keep(self, visual: int) -> int:
        """How many of `visual` tokens stay behind the cut."""
        return round(visual * (1 - self.drop))

    def sizes(self, visual: int) -> tuple[int, ...]:
        """Slots that programs are compiled for: of pruned steps, and of an episode's first ones."""
        return tuple(sorted({self.keep(visual), visual}))

    def needed(self, state: History) -> jax.Array:
        """int32[B], tokens that go on in the step to come."""
        visual = state.vectors.shape[-1]
        return jnp.where(state.full, self.keep(visual), visual)

    def cuts(self, size: int) -> tuple[Cut, ...]:
        """The cut, with `size` slots behind it."""
        return (Cut(self.name, self.before, size, self.choose),)

    def begin(self, batch: int, visual: int) -> History:
        """The state of episodes that begin."""
        return History.empty(batch, self.window, visual)

    def remember(self, state: History, attention: jax.Array) -> History:
        """The state after a step whose actions attended f32[B, V]."""
        return state.append(attention)

    def choose(self, view: View, state: History) -> Choice:
        """The tokens that stay; all of them in episodes that have just begun."""
        present, keep = view.rows.present, self.keep(state.vectors.shape[-1])
        scores = view.attention_from(self.rows(view))
        guidance = state.guidance(self.weighting(self.window, self.decay))
        guidance = jnp.take_along_axis(guidance, view.rows.token, axis=1)
        guidance = guidance.astype(view.hidden.dtype)  # as released: ties in bfloat16
        union = top_mask(scores, keep, present) | top_mask(guidance, keep, present)
        chosen = max_min_mask(self.features(view), union, keep)
        return Choice(jnp.where(state.full[:, None], chosen, present))
