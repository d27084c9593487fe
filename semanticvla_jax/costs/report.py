"""Everything a plan states about a configuration, as plain numbers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from semanticvla_jax.costs import conventions, inference, parameters, roofline, tokens
from semanticvla_jax.costs.chips import Chip


def report(
    config: Mapping[str, Any],
    *,
    prompt_tokens: int,
    chips: Sequence[Chip],
    trips: int | None = None,
) -> dict[str, Any]:
    """Costs of one inference, batch 1.

    Args:
      config: of a training run: `robot`, `model` and `optimizer.groups` are read.
      prompt_tokens: P, after BOS.
      chips: to bound the time on.
      trips: passes of data-dependent loops; None = their bound.

    Returns:
      JSON values (FLOPs: a multiply-add is 2; totals of parameters leave adapters out):
        tokens: see tokens.Tokens;
        flops: {convention: {total, components: {name: {linear, attention}}}};
        flops_added: what `full` has beside `ours`;
        loops: open ones, with the passes counted;
        parameters: {total, adapters, trainable, stored_bytes, bf16_bytes, unowned, with_unowned,
          components: {name: {count, trainable, stored_bytes}}};
        roofline: {chip: {seconds, fits, stages}};
        tracing_seconds.

    Raises:
      InputError: the configuration cannot be built or counted.
    """
    began = time.monotonic()
    traced = inference.trace(config, prompt_tokens=prompt_tokens, trips=trips)
    counted = tokens.count(traced)
    sizes = parameters.sizes(traced, config["optimizer"]["groups"])
    result = {
        "robot": traced.robot.name,
        "tokens": {**dataclasses.asdict(counted), "per_image": counted.per_image},
        **_flops(traced),
        "loops": [dataclasses.asdict(loop) for loop in traced.loops],
        "parameters": _parameters(traced, sizes),
    }
    stages = roofline.stages(traced.products)
    weights = result["parameters"]["bf16_bytes"]
    result["roofline"] = {chip.name: _roofline(stages, chip, weights) for chip in chips}
    result["tracing_seconds"] = time.monotonic() - began
    return result


def _flops(traced: inference.Inference) -> dict[str, Any]:
    counts, additions = conventions.conventions(traced)
    return {
        "flops": {
            convention: {
                "total": conventions.total(count),
                "components": {name: dataclasses.asdict(f) for name, f in count.items()},
            }
            for convention, count in counts.items()
        },
        "flops_added": [
            {"what": a.what, "component": a.component, "flops": a.flops.total} for a in additions
        ],
    }


def _parameters(traced: inference.Inference, sizes: Mapping[str, parameters.Size]) -> dict:
    model = {name: size for name, size in sizes.items() if name != "LoRA"}
    adapters = sizes.get("LoRA", parameters.Size())
    total = parameters.total(model)
    unowned = parameters.unowned(traced)
    ours = {
        "total": total.count,
        "adapters": adapters.count,
        "trainable": total.trainable + adapters.trainable,
    }
    return {
        **ours,
        "stored_bytes": total.stored_bytes,
        "bf16_bytes": 2 * total.count,
        "components": {name: dataclasses.asdict(size) for name, size in sizes.items()},
        "unowned": [dataclasses.asdict(u) for u in unowned],
        "with_unowned": {
            "total": ours["total"] + sum(u.count for u in unowned if u.component != "LoRA"),
            "adapters": ours["adapters"] + sum(u.count for u in unowned if u.component == "LoRA"),
            "trainable": ours["trainable"] + sum(u.trainable for u in unowned),
        },
    }


def _roofline(stages: list[roofline.Stage], chip: Chip, weights: int) -> dict[str, Any]:
    return {
        "seconds": roofline.total_seconds(stages, chip),
        "fits": weights <= chip.memory,
        "stages": [
            {
                **dataclasses.asdict(stage),
                "compute_seconds": stage.compute_seconds(chip),
                "memory_seconds": stage.memory_seconds(chip),
                "bound": stage.bound(chip),
            }
            for stage in stages
        ],
    }
