"""Action heads: states of the action tokens -> continuous action chunk, and its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.models.layers import MLP, Dense, LayerNorm

# (type, action dimensions) of each action token of a step, in token order.
ActionTokens = Sequence[tuple[str, Sequence[int]]]
SINGLE_ARM: ActionTokens = (("trans", (0, 1, 2)), ("rot", (3, 4, 5)), ("grip", (6,)))
BIMANUAL: ActionTokens = (
    *SINGLE_ARM,
    ("trans", (7, 8, 9)),
    ("rot", (10, 11, 12)),
    ("grip", (13,)),
)


def one_token_per_dimension(dims: int) -> ActionTokens:
    """Uncoupled: each action dimension a token of its own, all of one type (OpenVLA, OFT)."""
    return tuple(("action", (i,)) for i in range(dims))


def in_action_order(parts: Sequence[jax.Array], dims: Sequence[Sequence[int]]) -> jax.Array:
    """Concatenates parts[..., len(dims[i])] and puts column j of part i at dimension dims[i][j]."""
    order = np.argsort(np.concatenate([np.asarray(d) for d in dims]))
    return jnp.concatenate(parts, axis=-1)[..., order]


def weighted_l1(predicted: jax.Array, target: jax.Array, weights: jax.Array) -> jax.Array:
    """Mean over (B, K, A) of weights * |predicted - target|; with unit weights the released loss.

    Args:
      predicted: f32[B, K, A] normalised actions.
      target: f32[B, K, A].
      weights: f32[A].
    """
    return jnp.mean(jnp.abs(predicted.astype(jnp.float32) - target) * weights)


class RegressionHead(nn.Module):
    """A head whose output is compared with the target directly."""

    def supervise(
        self, states: jax.Array, targets: jax.Array, weights: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """[B, K, T, d], f32[B, K, A], f32[A] -> (loss f32[], actions f32[B, K, A])."""
        actions = self(states)
        return weighted_l1(actions, targets, weights), actions


class ResidualMLP(nn.Module):
    """norm1, fc1, ReLU, then y + ReLU(fc(norm(y))) blocks, norm2, fc2: x[..., in] -> [..., out]."""

    hidden: int
    out: int
    blocks: int = 2
    epsilon: float = 1e-5
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def norm(name: str) -> LayerNorm:
            return LayerNorm(self.epsilon, self.param_dtype, name=name)

        y = nn.relu(
            self.dense(self.hidden, kernel_init=self.kernel_init, name="fc1")(norm("norm1")(x))
        )
        for i in range(self.blocks):
            layer = self.dense(self.hidden, kernel_init=self.kernel_init, name=f"block_{i}_fc")
            y = y + nn.relu(layer(norm(f"block_{i}_norm")(y)))
        return self.dense(self.out, kernel_init=self.kernel_init, name="fc2")(norm("norm2")(y))


class ResidualMLPHead(RegressionHead):
    """Released head: one ResidualMLP per type, each fed all T tokens of a step side by side.

    A type that occurs in several tokens (two arms) has one MLP that emits all its dimensions.
    """

    action_tokens: ActionTokens = SINGLE_ARM
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, states: jax.Array) -> jax.Array:
        """[B, K, T, d] -> f32[B, K, A], unbounded."""
        by_type: dict[str, list[int]] = {}
        for kind, dims in self.action_tokens:
            by_type.setdefault(kind, []).extend(dims)
        width = states.shape[-1]
        x = states.reshape(*states.shape[:2], -1)
        parts = [
            ResidualMLP(
                width,
                len(dims),
                kernel_init=self.kernel_init,
                dense=self.dense,
                param_dtype=self.param_dtype,
                name=kind,
            )(x)
            for kind, dims in by_type.items()
        ]
        return in_action_order(parts, list(by_type.values())).astype(jnp.float32)


class PerTokenHead(RegressionHead):
    """The paper's head (eq. 11): each token's own state gives its own dimensions.

    Attributes:
      hidden: widths of hidden layers; () is the paper's linear map. Tokens of a type share weights.
    """

    action_tokens: ActionTokens = SINGLE_ARM
    hidden: Sequence[int] = ()
    activation: str = "relu"
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense

    @nn.compact
    def __call__(self, states: jax.Array) -> jax.Array:
        """[B, K, T, d] -> f32[B, K, A], unbounded."""
        heads = {
            kind: MLP(
                (*self.hidden, len(dims)),
                self.activation,
                self.kernel_init,
                dense=self.dense,
                name=kind,
            )
            for kind, dims in self.action_tokens
        }
        parts = [heads[kind](states[:, :, i]) for i, (kind, _) in enumerate(self.action_tokens)]
        return in_action_order(parts, [dims for _, dims in self.action_tokens]).astype(jnp.float32)


class ActionBins(nn.Module):
    """OpenVLA's action words: 256 edges over [-1, 1], bin centres, the vocabulary's last ids.

    A value v gets id `top - digitize(v)`; an id that is no action word decodes to the nearest end,
    as in the released tokenizer. Has no parameters; the decoder's vocabulary head gives the logits.

    Attributes:
      vocab_size: rows of the decoder's embedding.
      padding: rows above the last action word (OpenVLA: 64, to a multiple of 64).
    """

    vocab_size: int
    action_tokens: ActionTokens
    edges: int = 256
    padding: int = 0

    @property
    def top(self) -> int:
        return self.vocab_size - self.padding

    def encode(self, actions: jax.Array) -> jax.Array:
        """f32[..., A] -> int32[..., T], one word per dimension in token order."""
        edges = jnp.linspace(-1.0, 1.0, self.edges)
        bins = jnp.searchsorted(edges, jnp.clip(actions, -1.0, 1.0), side="right")
        return self.in_word_order(self.top - bins).astype(jnp.int32)

    def decode(self, words: jax.Array) -> jax.Array:
        """int32[..., T] -> f32[..., A], centres of the bins."""
        edges = jnp.linspace(-1.0, 1.0, self.edges)
        centres = (edges[:-1] + edges[1:]) / 2
        index = jnp.clip(self.top - words - 1, 0, self.edges - 2)
        return centres[index][..., np.argsort(self._dims)].astype(jnp.float32)

    def in_word_order(self, x: jax.Array) -> jax.Array:
        """[..., A] -> [..., T]."""
        return x[..., self._dims]

    @property
    def _dims(self) -> np.ndarray:
        return np.concatenate([np.asarray(dims) for _, dims in self.action_tokens])
