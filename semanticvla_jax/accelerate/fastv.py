"""FastV: image tokens that get little attention in an early layer are dropped (2403.06764)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax

from semanticvla_jax.accelerate import salience
from semanticvla_jax.accelerate.selection import top_mask
from semanticvla_jax.accelerate.view import Choice, Cut, View


@dataclasses.dataclass(frozen=True)
class FastV:
    """Before layer `before`, the tokens with the largest score stay, at their old positions.

    With the last row asked this is FastV, of which models/fastv.py is the form that is trained.
    VLA-Pruner's released code has the other rows of salience.py as baselines, without guidance.

    Attributes:
      drop: share of the image tokens that goes; round() of the rest stays.
      before: first layer without them, 0-based; the paper recommends 2.
      rows: who is asked.
    """

    drop: float = 0.5
    before: int = 2
    rows: Callable[[View], jax.Array] = salience.last_row
    name: str = "fastv"

    def keep(self, visual: int) -> int:
        """How many of `visual` tokens stay behind the cut."""
        return round(visual * (1 - self.drop))

    def sizes(self, visual: int) -> tuple[int, ...]:
        """Slots that programs are compiled for."""
        return (self.keep(visual),)

    def cuts(self, size: int) -> tuple[Cut, ...]:
        """The cut, with `size` slots behind it."""

        def choose(view: View, state) -> Choice:
            scores = view.attention_from(self.rows(view))
            return Choice(top_mask(scores, size, view.rows.present))

        return (Cut(self.name, self.before, size, choose),)
