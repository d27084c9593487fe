"""Lower bound of an inference's time: each stage takes its FLOPs or the reading of its weights."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from semanticvla_jax.costs import components
from semanticvla_jax.costs.chips import Chip
from semanticvla_jax.costs.products import Product


@dataclass(frozen=True)
class Stage:
    """Products that overlap perfectly: they share one bound.

    Attributes:
      weight_bytes: read from memory, in the type they are multiplied in; once per pass.
    """

    name: str
    flops: int
    weight_bytes: int

    def compute_seconds(self, chip: Chip) -> float:
        return self.flops / chip.peak

    def memory_seconds(self, chip: Chip) -> float:
        return self.weight_bytes / chip.bandwidth

    def seconds(self, chip: Chip) -> float:
        """The larger term."""
        return max(self.compute_seconds(chip), self.memory_seconds(chip))

    def bound(self, chip: Chip) -> str:
        """'compute' or 'memory', whichever takes longer."""
        return "compute" if self.compute_seconds(chip) >= self.memory_seconds(chip) else "memory"


def stages(counted: list[Product]) -> list[Stage]:
    """Encoders, the language model's passes by their number of positions, projectors and head.

    A pass over many positions is bound by compute and one over a single position by memory, so
    they must not be averaged; equal passes may be added up. Attention belongs to the pass of the
    product with weights in front of it.
    """
    groups: dict[str, list[Product]] = defaultdict(list)
    rows = 0
    for product in counted:
        rows = product.rows if product.weights else rows
        groups[_stage(components.component(product.module), rows)].append(product)
    return [
        Stage(name, sum(p.flops for p in group), sum(p.weight_bytes for p in group))
        for name, group in groups.items()
    ]


def total_seconds(stages: list[Stage], chip: Chip) -> float:
    """Stages run one after another."""
    return sum(stage.seconds(chip) for stage in stages)


def _stage(component: str, rows: int) -> str:
    if component in components.ENCODERS:
        return "encoders"
    if component in components.LANGUAGE:
        return f"LLM, {rows} position{'s' if rows > 1 else ''}"
    return "projectors, head"
