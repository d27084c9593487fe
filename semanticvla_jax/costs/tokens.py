"""How many tokens the language model gets."""

from __future__ import annotations

from dataclasses import dataclass

from semanticvla_jax.costs.components import component
from semanticvla_jax.costs.inference import Inference


@dataclass(frozen=True)
class Tokens:
    """Of one observation.

    Attributes:
      cues, anchors: of one image.
      images: of all images together.
      prompt: after BOS.
      actions: placeholders, or tokens to be decoded.
      sequence: positions of the language model's longest pass.
    """

    cues: int
    anchors: int
    images: int
    prompt: int
    actions: int
    sequence: int

    @property
    def per_image(self) -> int:
        return self.cues + self.anchors


def count(inference: Inference) -> Tokens:
    """Read from the shapes of the model's intermediates and of its products."""
    shown = inference.intermediates
    _, images, per_image, _ = shown["image_tokens"].shape
    details = (shown.get(tower, {}) for tower in ("siglip", "dino"))
    cues = sum(tower["cue_words"].shape[-1] for tower in details if "cue_words" in tower)
    return Tokens(
        cues=cues,
        anchors=per_image - cues,
        images=images * per_image,
        prompt=inference.prompt_tokens,
        actions=inference.model.coupler.tokens,
        sequence=max(p.rows for p in inference.products if component(p.module) == "LLM"),
    )
