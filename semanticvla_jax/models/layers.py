"""Layers every part is made of: Dense with an optional adapter, MLP, attention, pre-norm block."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.errors import choose
from semanticvla_jax.models.lora import LoRA


def gelu(x: jax.Array) -> jax.Array:
    """x times the normal distribution function at x, elementwise.

    In float32 by erf, as PyTorch has it; `jax.nn.gelu` goes by erfc, which costs a CPU more
    and matters only where 1 + erf loses digits, as it does in types of fewer bits.
    """
    if x.dtype != jnp.float32:
        return jax.nn.gelu(x, approximate=False)
    return 0.5 * x * (1 + jax.lax.erf(x * 0.5**0.5))


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu_exact": gelu,
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


def _uniform_by_fan_in(fan_in: int) -> nn.initializers.Initializer:
    bound = fan_in**-0.5
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)


# name -> (kernel initialiser of fan_in, bias initialiser of fan_in)
INITIALIZERS: dict[str, tuple[Callable, Callable]] = {
    # torch.nn.Linear's default: U(+-1/sqrt(fan_in)) for both.
    "torch": (_uniform_by_fan_in, _uniform_by_fan_in),
    "lecun": (lambda _: nn.initializers.lecun_normal(), lambda _: nn.initializers.zeros),
    "normal_0.02": (lambda _: nn.initializers.normal(0.02), lambda _: nn.initializers.zeros),
    "zeros": (lambda _: nn.initializers.zeros, lambda _: nn.initializers.zeros),
}


def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x[..., in] @ kernel[in, out], with x flattened to two axes.

    XLA's CPU backend needs twice the time for the gradient of the unflattened product.
    """
    y = x.reshape(-1, x.shape[-1]) @ kernel
    return y.reshape(*x.shape[:-1], kernel.shape[-1])


class Dense(nn.Module):
    """x[..., in] -> [..., features]; parameters kernel [in, features], bias, lora_a, lora_b.

    Attributes:
      kernel_init: name in INITIALIZERS.
      lora: the adapter, or None.
      dtype: of the computation; None means the input's.
      param_dtype: of kernel and bias.
    """

    features: int
    use_bias: bool = True
    kernel_init: str = "torch"
    lora: LoRA | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dtype = self.dtype or x.dtype
        fan_in = x.shape[-1]
        kernel_init, bias_init = choose(INITIALIZERS, self.kernel_init, "initialiser")
        kernel = self.param(
            "kernel", kernel_init(fan_in), (fan_in, self.features), self.param_dtype
        )
        x = x.astype(dtype)
        y = matmul(x, kernel.astype(dtype))
        if self.lora:
            rank, factors = self.lora.rank, self.lora.param_dtype
            a = self.param("lora_a", self.lora.init_a, (fan_in, rank), factors)
            b = self.param("lora_b", nn.initializers.zeros, (rank, self.features), factors)
            y = y + matmul(matmul(x, a.astype(dtype)), b.astype(dtype)) * self.lora.scale
        if self.use_bias:
            bias = self.param("bias", bias_init(fan_in), (self.features,), self.param_dtype)
            y = y + bias.astype(dtype)
        return y


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis, statistics in f32, two-pass variance."""

    epsilon: float = 1e-6
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), self.param_dtype)
        centred = x.astype(jnp.float32)
        centred = centred - centred.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return (centred * jax.lax.rsqrt(variance + self.epsilon) * scale + bias).astype(x.dtype)


class MLP(nn.Module):
    """Dense layers fc1, fc2, ..., an activation between them: x[..., in] -> [..., features[-1]].

    Attributes:
      features: widths of the layers.
      last_init: initialiser of the last layer, when it differs.
    """

    features: Sequence[int]
    activation: str = "gelu_exact"
    kernel_init: str = "torch"
    last_init: str | None = None
    dense: Callable[..., nn.Module] = Dense

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        act = choose(ACTIVATIONS, self.activation, "activation")
        last = len(self.features)
        for i, width in enumerate(self.features, start=1):
            init = self.last_init if i == last and self.last_init else self.kernel_init
            x = self.dense(width, kernel_init=init, name=f"fc{i}")(x)
            x = x if i == last else act(x)
        return x


def attention_weights(query: jax.Array, key: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Softmax of the scaled products, in f32: [B, S, H, Dh], [B, M, H, Dh] -> f32[B, H, S, M].

    Args:
      mask: bool[B or 1, 1, S or 1, M], True = may attend; None = all.
    """
    query, key = query.transpose(0, 2, 1, 3), key.transpose(0, 2, 1, 3)
    logits = jnp.einsum(
        "bhqd,bhkd->bhqk",
        query * query.shape[-1] ** -0.5,
        key,
        preferred_element_type=jnp.float32,
    )
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(jnp.float32).min)
    return jax.nn.softmax(logits, axis=-1)


def weighted_values(weights: jax.Array, value: jax.Array) -> jax.Array:
    """f32[B, H, S, M], [B, M, H, Dh] -> [B, S, H, Dh]."""
    value = value.transpose(0, 2, 1, 3)
    return (weights.astype(value.dtype) @ value).transpose(0, 2, 1, 3)


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused `qkv` product (columns q | k | v) and `proj`."""

    heads: int
    kernel_init: str = "torch"
    residual_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        batch, length, width = x.shape
        qkv = self.dense(3 * width, kernel_init=self.kernel_init, name="qkv")(x)
        qkv = qkv.reshape(batch, length, 3, self.heads, width // self.heads)
        weights = attention_weights(qkv[:, :, 0], qkv[:, :, 1], mask)
        self.sow("intermediates", "weights", weights)  # for figures; nothing unless asked for
        out = weighted_values(weights, qkv[:, :, 2]).reshape(batch, length, width)
        return self.dense(width, kernel_init=self.residual_init, name="proj")(out)


class Block(nn.Module):
    """Pre-norm transformer block, with an optional feature-wise modulation after the attention.

    x1 = x + ls1 * Attn(norm1(x));  x2 = (1 + scale) * x1 + shift;  out = x2 + ls2 * MLP(norm2(x2)).

    Attributes:
      layer_scale: initial value of ls1 and ls2, or None for none.
    """

    heads: int
    mlp_width: int
    activation: str = "gelu_exact"
    epsilon: float = 1e-6
    layer_scale: float | None = None
    kernel_init: str = "torch"
    residual_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | None = None,
        modulation: tuple[jax.Array, jax.Array] | None = None,
    ) -> jax.Array:
        """x[B, S, D], mask bool[B or 1, 1, S, S], modulation (scale, shift) [B, D] -> [B, S, D]."""
        norm = functools.partial(LayerNorm, self.epsilon, self.param_dtype)
        attention = SelfAttention(
            self.heads, self.kernel_init, self.residual_init, self.dense, name="attn"
        )
        mlp = MLP(
            (self.mlp_width, x.shape[-1]),
            self.activation,
            self.kernel_init,
            self.residual_init,
            self.dense,
            name="mlp",
        )
        x = x + self._layer_scale("ls1", attention(norm(name="norm1")(x), mask))
        if modulation is not None:
            scale, shift = modulation
            x = (1 + scale[:, None].astype(x.dtype)) * x + shift[:, None].astype(x.dtype)
        return x + self._layer_scale("ls2", mlp(norm(name="norm2")(x)))

    def _layer_scale(self, name: str, x: jax.Array) -> jax.Array:
        if self.layer_scale is None:
            return x
        init = nn.initializers.constant(self.layer_scale)
        return x * self.param(name, init, (x.shape[-1],), self.param_dtype).astype(x.dtype)


def run_in_a_loop(blocks: Sequence[nn.Module], x: jax.Array, mask, inputs: Any) -> jax.Array:
    """x through equal, bound blocks, `blocks[i](x, mask, inputs[i])`, compiled as one.

    Their parameters are stacked first, a copy that pays where compiling dozens of blocks and their
    gradients would take longer than it. What blocks sow is lost.

    Args:
      x: [B, S, D].
      mask: shared by all blocks.
      inputs: None, or one pytree of arrays per block.
    """
    block = blocks[0].clone(parent=None, name=None)

    def step(x, each):
        params, given = each
        return block.apply({"params": params}, x, mask, given), None

    params = [block.variables["params"] for block in blocks]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    given = None if inputs is None else jax.tree.map(lambda *leaves: jnp.stack(leaves), *inputs)
    return jax.lax.scan(step, x, (stacked, given))[0]
