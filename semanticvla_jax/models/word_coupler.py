"""Actions as words: 256-bin tokens of the decoder's own vocabulary (OpenVLA, PD-VLA)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from semanticvla_jax.models import sequence
from semanticvla_jax.models.memory import Reading
from semanticvla_jax.models.sequence import Landmarks, Prefix

# (ids int32[B, n], number of the first, reading) -> (logits f32[B, n, V] behind them, reading).
Advance = Callable[[jax.Array, jax.Array | int, Reading], tuple[jax.Array, Reading]]


@dataclasses.dataclass(frozen=True)
class Autoregressive:
    """Word by word, greedily; each costs one pass of a single position (OpenVLA)."""

    def __call__(
        self, first: jax.Array, reading: Reading, advance: Advance, count: int
    ) -> tuple[jax.Array, jax.Array, Reading]:
        """The first word int32[B] -> (all int32[B, count], passes behind the prefix, reading)."""

        def step(carry, index):
            word, reading = carry
            logits, reading = advance(word[:, None], index, reading)
            return (logits[:, 0].argmax(-1).astype(jnp.int32), reading), word

        (last, reading), words = jax.lax.scan(step, (first, reading), jnp.arange(count - 1))
        return jnp.concatenate([words, last[None]]).T, jnp.int32(count - 1), reading


@dataclasses.dataclass(frozen=True)
class FixedPoint:
    """All words at once, again and again until none changes (Jacobi iteration; PD-VLA).

    The fixed point is the greedy autoregressive answer: after n passes the first n + 1 words are.

    Attributes:
      limit: of passes; None goes on until the fixed point, at most count - 1 passes.
    """

    limit: int | None = None

    def __call__(
        self, first: jax.Array, reading: Reading, advance: Advance, count: int
    ) -> tuple[jax.Array, jax.Array, Reading]:
        """The first word int32[B] -> (all int32[B, count], passes behind the prefix, reading)."""
        limit = count - 1 if self.limit is None else min(self.limit, count - 1)

        def improve(carry):
            words, _, passes, reading = carry
            logits, reading = advance(words[:, :-1], 0, reading)
            better = jnp.concatenate([first[:, None], logits.argmax(-1).astype(jnp.int32)], axis=1)
            return better, (better != words).any(), passes + 1, reading

        def unfinished(carry):
            return carry[1] & (carry[2] < limit)

        guess = jnp.repeat(first[:, None], count, axis=1)
        words, _, passes, reading = jax.lax.while_loop(
            unfinished, improve, (guess, jnp.bool_(count > 1), jnp.int32(0), reading)
        )
        return words, passes, reading


class WordCoupler(nn.Module):
    """Decoder's own words as actions: causal, taught by cross-entropy; no proprioception token.

    The head turns actions into words and back (`encode`, `decode`); see heads.ActionBins.

    Attributes:
      decoding: Autoregressive or FixedPoint.
      chunk, tokens_per_step: K and T.
    """

    decoding: Callable
    chunk: int
    tokens_per_step: int
    bos_id: int = 1
    stop_id: int = 2

    @property
    def tokens(self) -> int:
        """Number of action tokens, K * T."""
        return self.chunk * self.tokens_per_step

    def decode(self, llm: nn.Module, head: nn.Module, prefix: Prefix) -> tuple[jax.Array, dict]:
        """Normalised actions f32[B, K, A], and details: words int32[B, K T], passes int32[]."""
        embeddings, start = _assemble(prefix, prefix.image_tokens[:, :0])
        embeddings = embeddings[:, :-1]  # no stop token yet
        visual = slice(1, 1 + prefix.image_tokens.shape[1])
        last, reading = llm.prefill(embeddings, Landmarks(visual, start), self.tokens)
        decoder, variables = llm.unbind()

        def advance(words, number, reading):
            embedded = decoder.apply(variables, words, method="embed")
            hidden, reading = decoder.apply(variables, embedded, number, reading, method="proceed")
            return decoder.apply(variables, hidden, method="logits"), reading

        first = llm.logits(last)[:, 0].argmax(-1).astype(jnp.int32)
        words, passes, reading = self.decoding(first, reading, advance, self.tokens)
        llm.conclude(reading)
        return self._actions(head, words), {"words": words, "passes": passes}

    def supervise(self, llm, head, prefix: Prefix, targets, weights) -> tuple[jax.Array, jax.Array]:
        """(cross-entropy of all words and the stop token, actions f32[B, K, A] taught by force).

        Args:
          targets: f32[B, K, A] normalised actions.
          weights: f32[A] of their dimensions; the stop token has 1.
        """
        words = head.encode(targets).reshape(targets.shape[0], -1)
        embeddings, start = _assemble(prefix, llm.embed(words))
        valid = jnp.arange(embeddings.shape[1])[None] < start[:, None] + self.tokens + 1
        mask = sequence.causal_mask(valid, start, self.tokens)
        visual = slice(1, 1 + prefix.image_tokens.shape[1])
        hidden = llm(embeddings, mask, Landmarks(visual, start))
        logits = llm.logits(sequence.take_rows(hidden, start - 1, self.tokens + 1))
        logits = logits.astype(jnp.float32)
        labels = jnp.pad(words, ((0, 0), (0, 1)), constant_values=self.stop_id)
        surprise = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        per_word = jnp.append(jnp.tile(head.in_word_order(weights), self.chunk), 1.0)
        return jnp.mean(surprise * per_word), self._actions(head, logits[:, :-1].argmax(-1))

    def _actions(self, head, words: jax.Array) -> jax.Array:
        return head.decode(words.reshape(-1, self.chunk, self.tokens_per_step))


def _assemble(prefix: Prefix, block: jax.Array) -> tuple[jax.Array, jax.Array]:
    return sequence.assemble(prefix.language, prefix.prompt_mask, prefix.image_tokens, block)
