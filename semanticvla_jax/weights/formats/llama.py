"""Llama-2 as Hugging Face has it, into `llm`."""

from __future__ import annotations

from pathlib import Path

from flax import linen as nn

from semanticvla_jax.weights import settings
from semanticvla_jax.weights.files import open_weights
from semanticvla_jax.weights.formats.format import Format, Source, configuration
from semanticvla_jax.weights.hugging_face import hf_llama
from semanticvla_jax.weights.layouts import padded_rows
from semanticvla_jax.weights.rules import Rule

# Llama-2's own files say so; OpenVLA runs its language model at 1e-6.
EPSILON = 1e-5


def open_llama(path: Path, model: nn.Module) -> Source:
    return Source(open_weights(path), settings.llama(configuration(path), epsilon=EPSILON))


def rules(model: nn.Module) -> list[Rule]:
    vocabulary = padded_rows(model.llm.vocab_size)
    return hf_llama("", "llm/", lm_head=model.llm.lm_head, vocabulary=vocabulary)


LLAMA = Format("Llama-2, Hugging Face folder: the language model", open_llama, rules, ("llm/.*",))
