"""The decoder as inference wants it: its layers apart, products of one input fused into one.

A loop over stacked layers copies each layer's weights out of the stack before it multiplies, and
three thin products take longer than a thick one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from semanticvla_jax.models.llama import Llama
from semanticvla_jax.models.llama_layer import GatedMLP, LlamaAttention, LlamaLayer
from semanticvla_jax.training import parameters

# What stands side by side, along the outputs.
FUSED = {
    "self_attn/qkv_proj": ("self_attn/q_proj", "self_attn/k_proj", "self_attn/v_proj"),
    "mlp/gate_up_proj": ("mlp/gate_proj", "mlp/up_proj"),
}


class FusedAttention(LlamaAttention):
    """One product for queries, keys and values: qkv_proj, columns q | k | v."""

    def queries_keys_values(self, x: jax.Array) -> Sequence[jax.Array]:
        width = 3 * x.shape[-1]
        project = self.dense(width, use_bias=False, kernel_init=self.kernel_init, name="qkv_proj")
        return jnp.split(project(x), 3, axis=-1)


class FusedMLP(GatedMLP):
    """One product for gate and up: gate_up_proj, columns gate | up."""

    def gate_and_up(self, x: jax.Array) -> Sequence[jax.Array]:
        widen = self.dense(
            2 * self.width, use_bias=False, kernel_init=self.kernel_init, name="gate_up_proj"
        )
        return jnp.split(widen(x), 2, axis=-1)


class FusedLayer(LlamaLayer):
    Attention = FusedAttention
    MLP = FusedMLP


class FusedLlama(Llama):
    """Llama with fused products."""

    Layer = FusedLayer


def unstack(model: Any, params: dict) -> tuple[Any, dict]:
    """The model with its decoder's layers one by one, and its parameters."""
    if not model.llm.scan:
        return model, params
    llm = dict(params["llm"])
    stack = llm.pop("layers")
    for index in range(model.llm.depth):
        llm[f"layers_{index}"] = jax.tree.map(lambda leaf, index=index: leaf[index], stack)
    return model.clone(llm=model.llm.clone(scan=False)), {**params, "llm": llm}


def fuse(model: Any, params: dict) -> tuple[Any, dict]:
    """The model with its decoder's layers one by one and fused, and its parameters.

    Decoders other than Llama as it comes are only unstacked.

    Args:
      model: SemanticVLA, without adapters.
      params: its parameters.
    """
    model, params = unstack(model, params)
    if type(model.llm) is not Llama:
        return model, params
    flat = parameters.flatten(params)
    for name in list(flat):
        if found := re.fullmatch(r"(llm/layers_\d+)/(self_attn/q_proj|mlp/gate_proj)/kernel", name):
            layer, first = found.groups()
            whole, parts = next(item for item in FUSED.items() if item[1][0] == first)
            kernels = [flat.pop(f"{layer}/{part}/kernel") for part in parts]
            flat[f"{layer}/{whole}/kernel"] = jnp.concatenate(kernels, axis=-1)
    return model.clone(llm=_as(FusedLlama, model.llm)), parameters.unflatten(flat)


def unfuse(model: Any, params: dict) -> tuple[Any, dict]:
    """The inverse of `fuse`, but layers stay one by one; quantised kernels are split as well."""
    if type(model.llm) is not FusedLlama:
        return model, params
    flat = parameters.flatten(params)
    for name in list(flat):
        layer, _, whole = name.removesuffix("/kernel").partition("/")[2].partition("/")
        if name.startswith("llm/") and whole in FUSED:
            parts, kernel = FUSED[whole], flat.pop(name)
            for index, part in enumerate(parts):
                flat[f"llm/{layer}/{part}/kernel"] = _columns(kernel, index, len(parts))
    return model.clone(llm=_as(Llama, model.llm)), parameters.unflatten(flat)


def _columns(kernel: Any, index: int, count: int) -> Any:
    """Part `index` of `count` equal ones, along the outputs of an array or of a quantised one."""

    def part(leaf: jax.Array) -> jax.Array:
        width = leaf.shape[-1] // count
        return leaf[..., index * width : (index + 1) * width]

    return jax.tree.map(part, kernel)


def _as(kind: type[Llama], llm: Llama) -> Llama:
    fields = {f.name: getattr(llm, f.name) for f in dataclasses.fields(Llama)}
    return kind(**{**fields, "parent": None, "name": None})
