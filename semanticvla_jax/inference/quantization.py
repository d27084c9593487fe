"""Weights of few bits for the towers' blocks and the language model, by qwix's arrays.

Their products read most of what a query reads from memory; everything else stays as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import qwix

from semanticvla_jax.errors import choose
from semanticvla_jax.models.layers import INITIALIZERS, Dense, matmul
from semanticvla_jax.training import parameters

QUANTIZED = r"((siglip|dino)/blocks_\d+/(attn|mlp)|llm/layers(_\d+)?/\w+|llm)/\w+/kernel"
SLOTS = ("siglip", "dino", "llm")


@dataclasses.dataclass(frozen=True)
class Precision:
    """How the products are quantised, symmetrically.

    Attributes:
      weights: type of the kernels, with a scale per output channel.
      tile: inputs that share a scale, where the kernel's inputs divide so; 0: all.
      activations: type that activations are rounded to as they come, with a scale per row; "":
        they stay.
    """

    weights: str
    tile: int = 0
    activations: str = ""

    def kernel(self, kernel: jax.Array) -> qwix.QArray:
        """[..., in, out] -> the same, quantised."""
        axis = kernel.ndim - 2
        tiled = self.tile and kernel.shape[axis] % self.tile == 0
        return qwix.quantize(
            kernel,
            self.weights,
            channelwise_axes=[i for i in range(kernel.ndim) if i != axis],
            tiled_axes={axis: self.tile} if tiled else {},
            scale_dtype=jnp.float32,
        )

    def product(self, x: jax.Array, kernel: qwix.QArray) -> jax.Array:
        """x[n, in], kernel [in, out] -> [n, out]."""
        if self.activations:
            x = qwix.quantize(x, self.activations, channelwise_axes=(0,))
            return qwix.dot(x, kernel.astype(x.dtype))
        if kernel.scale.shape[0] == 1:
            # A scale behind the product leaves a conversion in front of it, which XLA fuses.
            return matmul(x, kernel.qvalue.astype(x.dtype)) * kernel.scale.astype(x.dtype)
        return qwix.dot(x, kernel.astype(x.dtype))


PRECISIONS: Mapping[str, Precision] = {
    "int8": Precision("int8"),
    "int4": Precision("int4", tile=128),
    "w8a8": Precision("int8", activations="int8"),
}


class QuantizedDense(Dense):
    """Dense whose `kernel` is a qwix.QArray [in, features]; no adapter."""

    precision: Precision = PRECISIONS["int8"]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dtype, fan_in = self.dtype or x.dtype, x.shape[-1]
        kernel_init, bias_init = choose(INITIALIZERS, self.kernel_init, "initialiser")

        def init(key: jax.Array) -> qwix.QArray:
            shape = (fan_in, self.features)
            return self.precision.kernel(kernel_init(fan_in)(key, shape, self.param_dtype))

        kernel = self.param("kernel", init)
        y = self.precision.product(x.astype(dtype).reshape(-1, fan_in), kernel)
        y = y.reshape(*x.shape[:-1], self.features).astype(dtype)
        if self.use_bias:
            bias = self.param("bias", bias_init(fan_in), (self.features,), self.param_dtype)
            y = y + bias.astype(dtype)
        return y


def quantize(model: Any, params: dict, precision: str) -> tuple[Any, dict]:
    """The model with quantised products, and its parameters.

    Args:
      model: SemanticVLA, without adapters.
      params: its parameters.
      precision: name in PRECISIONS.

    Raises:
      InputError: an unknown precision; lists the choices.
    """
    chosen = choose(PRECISIONS, precision, "--precision")
    quantized = jax.jit(chosen.kernel)
    flat = {
        name: quantized(leaf) if re.fullmatch(QUANTIZED, name) else leaf
        for name, leaf in parameters.flatten(params).items()
    }
    parts = {name: _with_quantized_layers(getattr(model, name), chosen) for name in SLOTS}
    return model.clone(**parts), parameters.unflatten(flat)


def _with_quantized_layers(part: nn.Module, precision: Precision) -> nn.Module:
    settings = {**getattr(part.dense, "keywords", {}), "precision": precision}
    return part.clone(dense=functools.partial(QuantizedDense, **settings))
