"""Every checkpoint format by the name that the convert command takes."""

from __future__ import annotations

from collections.abc import Iterable

from semanticvla_jax.errors import InputError
from semanticvla_jax.weights.export import ADAPTER
from semanticvla_jax.weights.formats.big_vision_siglip import BIG_VISION_IMAGE, BIG_VISION_TEXT
from semanticvla_jax.weights.formats.dinov2 import DINOV2_HF, DINOV2_TIMM
from semanticvla_jax.weights.formats.format import Format
from semanticvla_jax.weights.formats.llama import LLAMA
from semanticvla_jax.weights.formats.openvla import OPENVLA
from semanticvla_jax.weights.formats.openvla_oft import OPENVLA_OFT
from semanticvla_jax.weights.formats.semanticvla import SEMANTICVLA
from semanticvla_jax.weights.formats.siglip import SIGLIP_HF_TEXT, SIGLIP_HF_VISION, SIGLIP_TIMM

FORMATS: dict[str, Format] = {
    "semanticvla": SEMANTICVLA,
    "openvla": OPENVLA,
    "openvla-oft": OPENVLA_OFT,
    "llama": LLAMA,
    "siglip-hf-text": SIGLIP_HF_TEXT,
    "siglip-hf-vision": SIGLIP_HF_VISION,
    "siglip-timm": SIGLIP_TIMM,
    "dinov2-hf": DINOV2_HF,
    "dinov2-timm": DINOV2_TIMM,
    "big-vision-image": BIG_VISION_IMAGE,
    "big-vision-text": BIG_VISION_TEXT,
}


def find_format(name: str) -> Format:
    """The format of that name.

    Raises:
      InputError: unknown; lists the choices.
    """
    if name not in FORMATS:
        raise InputError(
            "checkpoint format",
            found=repr(name),
            expected="; ".join(f"{key} ({each.summary})" for key, each in FORMATS.items()),
            fix="name one of them with --from",
        )
    return FORMATS[name]


def may_stay_fresh(formats: Iterable[Format]) -> list[str]:
    """Regexes of our names that may stay unfilled: adapters, and all that no format fills."""
    filled = "|".join(pattern for each in formats for pattern in each.fills)
    return [ADAPTER, rf"(?!(?:{filled})$).*"]
