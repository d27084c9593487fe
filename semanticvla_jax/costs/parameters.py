"""Parameters by component: how many, how many of them trainable, and their bytes as stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from semanticvla_jax.costs import components
from semanticvla_jax.costs.inference import Inference, blocks_behind_features
from semanticvla_jax.training import optimizer, parameters


@dataclass(frozen=True)
class Size:
    """Scalars, trainable scalars, and bytes in the types they are stored in."""

    count: int = 0
    trainable: int = 0
    stored_bytes: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(
            self.count + other.count,
            self.trainable + other.trainable,
            self.stored_bytes + other.stored_bytes,
        )


@dataclass(frozen=True)
class Unowned:
    """Parameters that the released checkpoints hold and no inference ever uses; we own none."""

    what: str
    component: str
    count: int
    trainable: int = 0


def sizes(inference: Inference, groups: parameters.Rules) -> dict[str, Size]:
    """{component: Size}; adapters are the component 'LoRA'.

    Args:
      groups: `config.optimizer.groups`, (regex, learning-rate multiplier); None freezes.

    Raises:
      InputError: a parameter that no group matches.
    """
    trainable = optimizer.trainable_names(inference.params, groups)
    result: dict[str, Size] = {}
    for name, leaf in parameters.flatten(inference.params).items():
        component = components.component(name, components.PARAMETERS)
        size = Size(leaf.size, leaf.size * trainable[name], leaf.size * leaf.dtype.itemsize)
        result[component] = result.get(component, Size()) + size
    return result


def total(sizes: dict[str, Size]) -> Size:
    return sum(sizes.values(), Size())


def unowned(inference: Inference) -> list[Unowned]:
    """What separates our counts from those of the released model, which adapts pretrained weights.

    Its figures include SigLIP text's pooling layer, adapters on the linear layers of SigLIP's
    attention pooling, and vision blocks behind the feature layer: none of them is ever run.
    """
    lora = inference.config.get("lora")
    return list(_unowned(inference, lora["rank"])) if lora else []


def _unowned(inference: Inference, rank: int) -> Iterator[Unowned]:
    model = inference.model
    if model.pruners.text_encoder is not None:
        width = model.pruners.text_encoder.width
        yield Unowned("pooling layer of the text tower", "SigLIP text", width * (width + 1))
    width, hidden = model.siglip.width, model.siglip.mlp_width
    # q [W, W], kv [W, 2 W], proj [W, W], fc1 [W, M], fc2 [M, W]: rank * (inputs + outputs) each.
    factors = rank * (2 * width + 3 * width + 2 * width + 2 * (width + hidden))
    yield Unowned("adapters of SigLIP's attention pooling", "LoRA", factors, factors)
    for component, (blocks, _) in blocks_behind_features(inference).items():
        count = parameters.count(blocks)
        yield Unowned(f"{component} blocks behind the feature layer", component, count)
