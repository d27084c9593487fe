"""OpenVLA-OFT's checkpoint folder: the authors' form, without their pruners and fusers.

With FiLM the towers have a file of their own; without, they stand in the model's files, under
OpenVLA's names.
"""

from __future__ import annotations

from pathlib import Path

from flax import linen as nn

from semanticvla_jax.weights import authors
from semanticvla_jax.weights.formats import semanticvla
from semanticvla_jax.weights.formats.format import Format, Source
from semanticvla_jax.weights.rules import Rule

# Bidirectional everywhere; the next-token convention stays.
ASSUMED = {"coupler.mask": "full_mask", "coupler.first_row": "shifted_left"}


def open_openvla_oft(path: Path, model: nn.Module) -> Source:
    source = semanticvla.open_folder(path)
    return Source(source.arrays, source.settings | ASSUMED, source.statistics)


def rules(model: nn.Module) -> list[Rule]:
    return [*semanticvla.rules(model), *authors.openvla(lm_head=model.llm.lm_head)]


OPENVLA_OFT = Format(
    "OpenVLA-OFT's checkpoint folder, with or without FiLM: everything",
    open_openvla_oft,
    rules,
    (r".*",),
)
