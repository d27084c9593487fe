"""An adaptive ratio: as many tokens as the instruction points at."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from semanticvla_jax.accelerate.scene import Combined, Scene
from semanticvla_jax.accelerate.selection import top_mask
from semanticvla_jax.accelerate.stage import Stage
from semanticvla_jax.errors import InputError


def effective_number(scores: jax.Array, temperature: float) -> jax.Array:
    """exp of the entropy of softmax(scores / temperature): f32[n, N] -> f32[n], 1 to N."""
    log_share = jax.nn.log_softmax(scores / temperature, axis=-1)
    return jnp.exp(-(jnp.exp(log_share) * log_share).sum(-1))


@dataclasses.dataclass(frozen=True)
class AdaptiveRatio(Stage):
    """Tokens per scene and instruction, from the entropy of the ID-Pruner's similarities.

    Not of a paper: the SemanticVLA authors name a ratio that adapts as open. Where the similarity
    of words and patches (mean over words) has a sharp peak, the instruction is about few patches
    and few anchors go on; where it is flat, all do. Their number is the effective number of
    patches, exp(entropy), between `least` of the anchors and all of them; those most similar stay,
    at their rotary positions, and so do all cues.

    Attributes:
      temperature: of the softmax; cosines differ little, so it is small.
      least: share of the anchors that always stays.
      levels: shares of all image tokens that programs are compiled for.
    """

    temperature: float = 0.02
    least: float = 0.25
    levels: tuple[float, ...] = (0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    tower: str = "siglip"
    name: str = "adaptive"

    def combine(self, scene: Scene, state: None) -> tuple[Combined, None]:
        """The anchors that stay.

        Raises:
          InputError: no ID-Pruner compares the words with patches.
        """
        if "patch_scores" not in scene.details:
            raise InputError(
                "similarity of words and patches",
                found="none: no ID-Pruner in the policy",
                expected="a policy with the pruner 'instruction_driven'",
                fix="use another method; they need no similarity",
            )
        scores = scene.details["patch_scores"]
        anchors = scene.patch.shape[1]
        wanted = jnp.ceil(effective_number(scores, self.temperature))
        count = jnp.clip(wanted, round(self.least * anchors), anchors).astype(jnp.int32)
        return Combined(None, top_mask(scene.at_anchors(scores), count)), None
