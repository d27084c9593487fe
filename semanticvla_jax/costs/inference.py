"""One inference of a configured model on abstract arrays, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax

from semanticvla_jax.costs import products
from semanticvla_jax.errors import InputError
from semanticvla_jax.models.abstract import abstract_batch, complete, init
from semanticvla_jax.models.build import build, for_inference
from semanticvla_jax.robots import RobotSpec, find_robot
from semanticvla_jax.training import parameters


@dataclass(frozen=True)
class Inference:
    """What one observation makes a model compute, batch 1, with its adapters merged.

    Attributes:
      model: without adapters.
      config: `config.model`, completed by what the robot determines.
      robot: whose cameras, state and chunk length it has.
      params: shapes as trained, adapters included.
      products: in program order.
      loops: that end when their data say so, with the passes they were counted with.
      intermediates: shapes of what the model returns beside the actions.
      prompt_tokens: P, after BOS.
    """

    model: nn.Module
    config: dict[str, Any]
    robot: RobotSpec
    params: dict[str, Any]
    products: list[products.Product]
    loops: list[products.Loop]
    intermediates: dict[str, Any]
    prompt_tokens: int

    @property
    def images(self) -> int:
        """Images per observation."""
        return len(self.robot.cameras)


def trace(config: Mapping[str, Any], *, prompt_tokens: int, trips: int | None = None) -> Inference:
    """Traces the inference of a configuration.

    Args:
      config: of a training run; its `robot` and `model` are read, and `data.text_length`.
      prompt_tokens: P, after BOS.
      trips: passes of loops that end when their data say so; None = their bound.

    Raises:
      InputError: unknown robot or slot, sizes that disagree, or something that cannot be counted.
    """
    robot, model_config = find_robot(config["robot"]), complete(config)
    return trace_model(model_config, robot, prompt_tokens=prompt_tokens, trips=trips)


def trace_model(
    config: dict[str, Any], robot: RobotSpec, *, prompt_tokens: int, trips: int | None = None
) -> Inference:
    """The same for a complete `config.model`."""
    if prompt_tokens < 1:
        raise InputError(
            "prompt tokens", found=prompt_tokens, expected="at least 1", fix="give a larger number"
        )
    model = build(for_inference(config))
    batch = abstract_batch(config, robot, prompt_tokens)
    params = init(build(config), batch)
    merged = parameters.unflatten(
        {n: leaf for n, leaf in parameters.flatten(params).items() if "/lora_" not in n}
    )
    traced = products.trace(lambda p, b: model.apply({"params": p}, b), merged, batch, trips=trips)
    return Inference(
        model,
        config,
        robot,
        params,
        traced.products,
        traced.loops,
        intermediates=traced.shapes[1],
        prompt_tokens=prompt_tokens,
    )


def trace_alone(
    model: nn.Module, *arguments: Any, method: Any = None
) -> tuple[dict[str, Any], list[products.Product]]:
    """Parameter shapes and products of one method of a module, outside the whole model."""
    params = init(model, *arguments, method=method)
    traced = products.trace(
        lambda p, *a: model.apply({"params": p}, *a, method=method), params, *arguments
    )
    return params, traced.products


def blocks_behind_features(inference: Inference) -> dict[str, tuple[dict, list[products.Product]]]:
    """What a tower whose output is an earlier block's would own and run beyond that block.

    Returns:
      {component: (parameter shapes, products)} of the towers that have such blocks.
    """
    behind = {}
    for slot, component in (("dino", "DINOv2"), ("siglip", "SigLIP")):
        tower = getattr(inference.model, slot)
        start = tower.feature_index + 1
        if start == tower.depth:
            continue
        last = [p for p in inference.products if p.module == f"{slot}/blocks_{start - 1}/mlp/fc2"]
        shape = (inference.images, last[0].rows // inference.images, tower.width)
        shapes, counted = trace_alone(
            tower.clone(feature_layer=-1),
            jax.ShapeDtypeStruct(shape, tower.dtype),
            method=lambda module, x, start=start: module.run(x, start, module.depth),
        )
        blocks = {name: shapes[name] for name in shapes if name.startswith("blocks_")}
        behind[component] = blocks, counted
    return behind
