"""The least time a query can take on a device whose two ceilings were measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from semanticvla_jax.costs import components, inference, products, roofline, tokens
from semanticvla_jax.costs.chips import Chip
from semanticvla_jax.robots import RobotSpec

KEPT = (*components.TEXT, "FiLM")  # once for an instruction, not for every query


@dataclasses.dataclass(frozen=True)
class Query:
    """What a query computes, apart from what is computed once for its instruction.

    Attributes:
      products: of one observation, each with its weights' bytes.
      tokens: that the language model gets.
      parameters: of the model.
      batch: observations per query.
    """

    products: list[products.Product]
    tokens: tokens.Tokens
    parameters: int
    batch: int = 1

    @property
    def flops(self) -> int:
        return self.batch * sum(product.flops for product in self.products)

    @property
    def weight_bytes(self) -> int:
        return sum(product.weight_bytes for product in self.products)

    def stages(self) -> list[roofline.Stage]:
        """Weights are read once for the whole batch."""
        return [
            dataclasses.replace(stage, flops=self.batch * stage.flops)
            for stage in roofline.stages(self.products)
        ]

    def seconds(self, chip: Chip) -> float:
        return roofline.total_seconds(self.stages(), chip)


def count(
    model: Mapping[str, Any],
    robot: RobotSpec,
    prompt_tokens: int,
    *,
    batch: int = 1,
    quantised: float | None = None,
) -> Query:
    """Counts a query of a complete `config.model` by tracing it.

    Args:
      prompt_tokens: P, after BOS.
      batch: observations per query.
      quantised: bytes of a weight of the towers and the language model; None = as it is multiplied.
    """
    traced = inference.trace_model(dict(model), robot, prompt_tokens=prompt_tokens)
    counted = [p for p in traced.products if components.component(p.module) not in KEPT]
    if quantised:
        share = quantised / jnp.dtype(model["dtype"]).itemsize
        counted = [_with_weights(share, p) if _is_quantised(p) else p for p in counted]
    size = sum(leaf.size for leaf in jax.tree.leaves(traced.params))
    return Query(counted, tokens.count(traced), size, batch)


def _is_quantised(product: products.Product) -> bool:
    """As inference.quantization.QUANTIZED has it."""
    return components.component(product.module) in ("DINOv2", "SigLIP", *components.LANGUAGE)


def _with_weights(share: float, product: products.Product) -> products.Product:
    return dataclasses.replace(product, weight_bytes=round(share * product.weight_bytes))


def machine(copy: float, product: float) -> Chip:
    """The measured device: B/s of a large copy, FLOP/s of a large matrix product."""
    return Chip("this machine", peak=product, bandwidth=copy, memory=float("inf"))
