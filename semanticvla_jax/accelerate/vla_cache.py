"""VLA-Cache: image tokens that did not change keep last step's keys and values (2502.02175)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate.caching_decoder import Read, caching
from semanticvla_jax.accelerate.scene import Combined, Scene
from semanticvla_jax.accelerate.selection import top_mask
from semanticvla_jax.accelerate.stage import Stage
from semanticvla_jax.errors import InputError


class Cached(NamedTuple):
    """State of an episode.

    images: uint8[B, I, H, W, 3], of the last step.
    relevance: f32[B, V], what the prompt attended to in the last step.
    keys, values: [B, depth, S, H, Dh] of all rows of the last step.
    begun: bool[B], whether there was a last step.
    """

    images: jax.Array
    relevance: jax.Array | None = None
    keys: jax.Array | None = None
    values: jax.Array | None = None
    begun: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class VLACache(Stage):
    """Only fresh image tokens go through the decoder; for the others the memory is reused.

    Reused are tokens whose patch's pixels have a cosine with those of the last step of at least
    `similarity`, at most `static` of them and the most similar first, but not those among the
    `relevant` that the prompt attended to most in the last step (layer `watched`, mean over heads
    and rows behind the images). Shares are the released code's 150 and 100 of 256 tokens, per
    observation. Whatever is no image token is fresh. One set serves all layers: the paper's reuse
    that grows with a layer's attention entropy would need another number of rows in every layer.

    For parallel decoding, action placeholders attend to the memory like any fresh row.

    Attributes:
      levels: shares of fresh tokens that programs are compiled for.
    """

    similarity: float = 0.996
    static: float = 150 / 256
    relevant: float = 100 / 256
    watched: int = 15
    levels: tuple[float, ...] = (0.5, 0.625, 0.75, 0.875, 1.0)
    tower: str = "siglip"
    name: str = "vla_cache"

    def prepare(self, batch: Mapping[str, Any], last_action, robot, grid: int) -> dict[str, Any]:
        """The images themselves."""
        return {"images": batch["images"]}

    def combine(self, scene: Scene, state: Cached | None) -> tuple[Combined, Cached]:
        """The tokens that are fresh; all of them in a first step (`state` None, or not begun).

        Raises:
          InputError: tokens are not the image's patches one by one.
        """
        n, patches = scene.received.shape
        if "kept_patches" in scene.details or scene.patch.shape[1] != patches:
            raise InputError(
                "image tokens to reuse",
                found=f"a choice or mixtures of {patches} patches that may differ in every step",
                expected="all patches of each image",
                fix="use vla_cache with OpenVLA-style policies",
            )
        images = scene.extras["images"]
        if state is None:
            return Combined(None, jnp.ones((n, patches), bool)), Cached(images)
        batch = len(images)
        alike = patch_cosines(images, state.images, patches).reshape(batch, -1)
        visual = alike.shape[1]
        still = top_mask(alike, round(self.static * visual), alike >= self.similarity)
        wanted = top_mask(state.relevance, round(self.relevant * visual))
        fresh = ~(still & ~wanted) | ~state.begun[:, None]
        return Combined(None, fresh.reshape(n, patches)), state._replace(images=images)

    def decoder(self, llm: Any, size: int) -> Any:
        """The decoder that computes `size` image tokens."""
        return caching(llm, self.name, size, self.watched)

    def after(self, state: Cached, read: Read) -> Cached:
        """State of the next step: what `combine` left, and what the decoder read."""
        begun = jnp.ones(len(state.images), bool)
        return Cached(state.images, read.relevance, read.keys, read.values, begun)


def patch_cosines(now: jax.Array, before: jax.Array, patches: int) -> jax.Array:
    """Cosine of each patch's pixels then and now: uint8[B, I, H, W, 3] twice -> f32[B I, N]."""

    def flat(images):
        n, side = images.shape[0] * images.shape[1], images.shape[2]
        grid = round(patches**0.5)
        x = images.reshape(n, grid, side // grid, grid, side // grid, 3).astype(jnp.float32)
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, patches, -1)

    a, b = flat(now), flat(before)
    lengths = jnp.sqrt((a * a).sum(-1)) * jnp.sqrt((b * b).sum(-1))
    return (a * b).sum(-1) / (lengths + 1e-8)
