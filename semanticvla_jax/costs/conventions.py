"""FLOPs of an inference in four conventions.

  ours: what this graph runs.
  full: what the released code runs: also text tower, its MLP and FiLM once per image, the
    vocabulary head over every position, and the vision blocks behind the feature layer.
  lean: full without the vocabulary head and with the text tower once.
  paper_like: lean without attention products and without the text tower; this one fits the paper's
    Table 2.

What our graph does without is counted by tracing too, and listed with the result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import jax

from semanticvla_jax.costs import components
from semanticvla_jax.costs.inference import Inference, blocks_behind_features, trace_alone
from semanticvla_jax.costs.products import Product
from semanticvla_jax.training import parameters


@dataclass(frozen=True)
class Flops:
    """Products with weights, and products between activations (attention)."""

    linear: int = 0
    attention: int = 0

    @classmethod
    def of(cls, counted: Iterable[Product]) -> Flops:
        counted = list(counted)
        linear = sum(product.flops for product in counted if product.weights)
        return cls(linear, sum(product.flops for product in counted) - linear)

    @property
    def total(self) -> int:
        return self.linear + self.attention

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.linear + other.linear, self.attention + other.attention)

    def __mul__(self, times: int) -> Flops:
        return Flops(self.linear * times, self.attention * times)


Count = dict[str, Flops]  # by component


@dataclass(frozen=True)
class Addition:
    """Work of the released code that our graph does without."""

    what: str
    component: str
    flops: Flops


def by_component(counted: list[Product]) -> Count:
    """Sums products by the component they belong to."""
    groups: dict[str, list[Product]] = defaultdict(list)
    for product in counted:
        groups[components.component(product.module)].append(product)
    return {name: Flops.of(group) for name, group in groups.items()}


def total(count: Count) -> int:
    return sum(flops.total for flops in count.values())


def conventions(inference: Inference) -> tuple[dict[str, Count], list[Addition]]:
    """({'ours', 'full', 'lean', 'paper_like'}, what `full` has beside `ours`)."""
    ours = by_component(inference.products)
    kept = [
        *_blocks_behind_features(inference),
        *_again_for_each_image(inference, "FiLM", ours),
    ]
    left_by_lean = [
        *_again_for_each_image(inference, "SigLIP text", ours),
        *_again_for_each_image(inference, "text MLP", ours),
        *_head_everywhere(inference, ours),
    ]
    lean = _without(_with(ours, kept), "lm_head")
    paper_like = {
        name: Flops(flops.linear) if name in components.TRANSFORMERS else flops
        for name, flops in _without(lean, *components.TEXT).items()
    }
    counts = {
        "ours": ours,
        "full": _with(ours, [*kept, *left_by_lean]),
        "lean": lean,
        "paper_like": paper_like,
    }
    return counts, [*kept, *left_by_lean]


def _blocks_behind_features(inference: Inference) -> Iterator[Addition]:
    """The released towers run to their end, whichever block's output is used."""
    for component, (_, counted) in blocks_behind_features(inference).items():
        yield Addition(f"{component} behind the feature layer", component, Flops.of(counted))


def _again_for_each_image(inference: Inference, component: str, ours: Count) -> Iterator[Addition]:
    """The released code repeats per image what depends on the instruction alone."""
    again = inference.images - 1
    if component in ours and again:
        what = f"{component} again for further images ({again})"
        yield Addition(what, component, ours[component] * again)


def _head_everywhere(inference: Inference, ours: Count) -> Iterator[Addition]:
    llm = inference.model.llm
    if not llm.lm_head:
        return
    positions = decoder_positions(inference, ours)
    hidden = jax.ShapeDtypeStruct((1, positions, llm.width), llm.dtype)
    everywhere = Flops.of(trace_alone(llm, hidden, method="logits")[1])
    rest = everywhere.total - ours.get("lm_head", Flops()).total
    yield Addition(f"lm_head over all {positions} positions", "lm_head", Flops(rest))


def decoder_positions(inference: Inference, ours: Count) -> int:
    """Positions through the decoder, all passes together; the mean over layers, if they differ."""
    layers = {
        name: leaf
        for name, leaf in parameters.flatten(inference.params).items()
        if components.component(name) == "LLM" and name.endswith("/kernel")
    }
    return round(ours["LLM"].linear / (2 * sum(leaf.size for leaf in layers.values())))


def _with(count: Count, additions: Iterable[Addition]) -> Count:
    result = dict(count)
    for addition in additions:
        result[addition.component] = result.get(addition.component, Flops()) + addition.flops
    return result


def _without(count: Count, *names: str) -> Count:
    return {name: flops for name, flops in count.items() if name not in names}
