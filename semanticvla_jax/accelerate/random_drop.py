"""Random dropping: the floor that every choice of tokens has to beat."""

from __future__ import annotations

import dataclasses

import jax

from semanticvla_jax.accelerate.scene import Combined, Scene
from semanticvla_jax.accelerate.selection import top_mask
from semanticvla_jax.accelerate.stage import Stage, choosing


@dataclasses.dataclass(frozen=True)
class RandomDrop(Stage):
    """Before the decoder a random choice of each image's tokens goes on, in order.

    Every step draws anew; an episode's draws depend on the seed, its place in the batch and the
    step alone.

    Attributes:
      drop: share of the tokens that goes; round() of the rest stays.
    """

    drop: float = 0.5
    seed: int = 0
    tower: str = "siglip"
    name: str = "random"

    def begin(self, batch: int) -> jax.Array:
        """uint32[B, 2], a generator's key per episode."""
        keys = jax.random.split(jax.random.key(self.seed), batch)
        return jax.random.key_data(keys)

    def combine(self, scene: Scene, state: jax.Array) -> tuple[Combined, jax.Array]:
        """The drawn ones, and the keys of the next step."""
        n, anchors = scene.patch.shape
        pairs = jax.vmap(jax.random.split)(jax.random.wrap_key_data(state))
        images = n // len(state)
        draw = jax.vmap(lambda key: jax.random.uniform(key, (images, anchors)))
        scores = draw(pairs[:, 0]).reshape(n, anchors)
        keep = round(anchors * (1 - self.drop))
        return Combined(choosing(top_mask(scores, keep), keep), None), jax.random.key_data(
            pairs[:, 1]
        )
