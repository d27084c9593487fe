"""SA-Coupler: one token per action type and step, all decoded in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.models import sequence
from semanticvla_jax.models.layers import MLP, Dense
from semanticvla_jax.models.sequence import Landmarks, Prefix, Sequence


def shifted_left(start: jax.Array) -> jax.Array:
    """First row read: one before the first placeholder, the next-token convention as released."""
    return start - 1


def aligned(start: jax.Array) -> jax.Array:
    """First row read: the first placeholder itself, as in the paper."""
    return start


class ZeroPlaceholders(nn.Module):
    """All-zero placeholders, as released: only the rotary position tells them apart."""

    tokens: int
    llm_width: int

    def __call__(self, proprioception: jax.Array) -> jax.Array:
        """[B, d] -> [1, tokens, d]."""
        return jnp.zeros((1, self.tokens, self.llm_width), proprioception.dtype)


class TypedPlaceholders(nn.Module):
    """One learned vector per token type of a step, repeated over the chunk."""

    tokens: int
    tokens_per_step: int
    llm_width: int
    std: float = 0.02
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, proprioception: jax.Array) -> jax.Array:
        """[B, d] -> [1, tokens, d]."""
        shape = (self.tokens_per_step, self.llm_width)
        types = self.param("types", nn.initializers.normal(self.std), shape, self.param_dtype)
        return jnp.tile(types, (self.tokens // self.tokens_per_step, 1))[None].astype(
            proprioception.dtype
        )


class ProprioceptivePlaceholders(nn.Module):
    """A learned vector per placeholder plus the proprioception token: for shallow decoders."""

    tokens: int
    llm_width: int
    std: float = 0.1
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, proprioception: jax.Array) -> jax.Array:
        """[B, d] -> [B, tokens, d]."""
        shape = (self.tokens, self.llm_width)
        learned = self.param("learned", nn.initializers.normal(self.std), shape, self.param_dtype)
        return learned.astype(proprioception.dtype) + proprioception[:, None]


class ActionCoupler(nn.Module):
    """Action tokens as placeholders behind the prompt, decoded together.

    A coupler offers `decode(llm, head, prefix)` and `supervise(llm, head, prefix, targets,
    weights)`, so that how actions come out of the decoder is this one part.

    Attributes:
      placeholders: module, proprioception token [B, d] -> [B or 1, chunk * tokens_per_step, d].
      mask: function (valid, start, length) -> bool[B, 1, S, S].
      first_row: function start -> first row read.
      chunk, tokens_per_step: K and T.
      llm_width: of the language model.
      bos_id, stop_id: token ids in front and behind.
    """

    placeholders: nn.Module
    chunk: int
    tokens_per_step: int
    llm_width: int
    mask: Callable[[jax.Array, jax.Array, int], jax.Array] = sequence.hybrid_mask
    first_row: Callable[[jax.Array], jax.Array] = shifted_left
    bos_id: int = 1
    stop_id: int = 2
    activation: str = "gelu_exact"
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense

    @property
    def tokens(self) -> int:
        """Number of action tokens, K * T."""
        return self.chunk * self.tokens_per_step

    def setup(self):
        widths = (self.llm_width, self.llm_width)
        self.proprio_projector = MLP(widths, self.activation, self.kernel_init, dense=self.dense)

    def decode(self, llm: nn.Module, head: nn.Module, prefix: Prefix) -> tuple[jax.Array, dict]:
        """Normalised actions f32[B, K, A], and details: sequence, hidden, action_states."""
        details = self.states(llm, prefix)
        return head(details["action_states"]), details

    def supervise(self, llm, head, prefix: Prefix, targets, weights) -> tuple[jax.Array, jax.Array]:
        """(loss f32[], actions f32[B, K, A]) for targets f32[B, K, A], weights f32[A]."""
        return head.supervise(self.states(llm, prefix)["action_states"], targets, weights)

    def states(self, llm: nn.Module, prefix: Prefix) -> dict[str, Any]:
        """One pass: sequence, hidden [B, S, d] and the action tokens' states [B, K, T, d]."""
        built = self.assemble(*prefix)
        visual = slice(1, 1 + prefix.image_tokens.shape[1])
        landmarks = Landmarks(visual, built.start, self.tokens)
        hidden = llm(built.embeddings, built.mask, landmarks)
        states = self.read(hidden, built.start)
        return {"sequence": built, "hidden": hidden, "action_states": states}

    def assemble(self, image_tokens, state, language, prompt_mask) -> Sequence:
        """The decoder's input; arguments as in `Prefix`."""
        proprioception = self.proprio_projector(state.astype(image_tokens.dtype))
        context = jnp.concatenate([image_tokens, proprioception[:, None]], axis=1)
        placeholders = self.placeholders(proprioception)
        embeddings, start = sequence.assemble(language, prompt_mask, context, placeholders)
        length = self.tokens + 1
        valid = jnp.arange(embeddings.shape[1])[None] < start[:, None] + length
        return Sequence(embeddings, valid, self.mask(valid, start, length), start)

    def read(self, hidden: jax.Array, start: jax.Array) -> jax.Array:
        """Decoder states [B, S, d] -> action token states [B, K, T, d]."""
        states = sequence.take_rows(hidden, self.first_row(start), self.tokens)
        return states.reshape(hidden.shape[0], self.chunk, self.tokens_per_step, -1)
