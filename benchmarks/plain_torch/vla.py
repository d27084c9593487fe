"""Plain PyTorch policies of given sizes: what this project's are compared with.

Written as such code usually is: timm towers, transformers' Llama with SDPA. They select, fuse and
decode as SemanticVLA, OpenVLA-OFT and OpenVLA do, but only their cost is comparable, never their
outputs. Nothing of JAX is imported.
"""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.plain_torch.parts import Head, llama, mlp
from benchmarks.plain_torch.vision import SemanticVision, Vision


class VLA(nn.Module):
    """Images, state and sentence in, actions out; the decoder answers in one of two ways below."""

    def __init__(self, sizes: dict):
        super().__init__()
        self.sizes, self.chunk = sizes, sizes["chunk"]
        self.vision = SemanticVision(sizes) if sizes["text"] else Vision(sizes)
        self.llm = llama(sizes["llm"])

    def instruction(self, text: torch.Tensor, prompt: torch.Tensor) -> dict:
        """What depends on the sentence alone: text ids [B, M], prompt ids [B, P]."""
        language = self.llm.embed_tokens(prompt)
        return {
            "language": language,
            **self.vision.condition(text, language, self.sizes["cameras"]),
        }

    def forward(self, pixels: torch.Tensor, state: torch.Tensor, told: dict) -> torch.Tensor:
        """[B I, 6, H, W], [B, Q], `instruction` -> normalised actions [B, K, A]."""
        tokens = self.vision.tokens(*self.vision.encode(pixels, told), told)
        return self.act(self.decode(tokens, state, told))


class Regressing(VLA):
    """Action tokens behind the prompt, decoded in one pass; a head per type of token."""

    def __init__(self, sizes: dict):
        super().__init__(sizes)
        width, inputs = sizes["llm"]["width"], sizes["tokens_per_step"] * sizes["llm"]["width"]
        self.proprio = mlp(sizes["state"], width, width)
        self.heads = nn.ModuleList(Head(inputs, width, out) for out in sizes["heads"])

    def decode(self, tokens: torch.Tensor, state: torch.Tensor, told: dict) -> torch.Tensor:
        """Image tokens [B I, V, d] -> the action tokens' states [B, K, T d]."""
        batch, width = state.shape[0], tokens.shape[-1]
        count = self.chunk * self.sizes["tokens_per_step"]
        language, state = told["language"], self.proprio(state.to(tokens.dtype))[:, None]
        language = language.to(tokens.dtype)
        parts = [language[:, :1], tokens.reshape(batch, -1, width), state, language[:, 1:]]
        sequence = torch.cat([*parts, tokens.new_zeros(batch, count + 1, width)], dim=1)
        mask = self.mask(sequence.shape[1], count + 1).to(tokens.device)
        hidden = self.llm(inputs_embeds=sequence, attention_mask=mask, use_cache=False)
        rows = hidden.last_hidden_state[:, -count - 2 : -2]  # each one before its own token
        return rows.reshape(batch, self.chunk, -1)

    def mask(self, size: int, block: int) -> torch.Tensor:
        """bool[1, 1, S, S]: causal, the last `block` bidirectional among themselves; or full."""
        mask = torch.ones(size, size, dtype=torch.bool)
        if self.sizes["mask"] == "hybrid":
            mask = mask.tril()
            mask[-block:, -block:] = True
        return mask[None, None]

    def act(self, states: torch.Tensor) -> torch.Tensor:
        return torch.cat([head(states) for head in self.heads], dim=-1)


class Speaking(VLA):
    """Words of the vocabulary, one after another, that stand for bins of the actions' range."""

    def __init__(self, sizes: dict):
        super().__init__(sizes)
        self.lm_head = nn.Linear(sizes["llm"]["width"], sizes["llm"]["vocab_size"], bias=False)

    def decode(self, tokens: torch.Tensor, state: torch.Tensor, told: dict) -> torch.Tensor:
        """Image tokens [B I, V, d] -> words int[B, K T]."""
        batch, language = state.shape[0], told["language"].to(tokens.dtype)
        tokens = tokens.reshape(batch, -1, tokens.shape[-1])
        given = {"inputs_embeds": torch.cat([language[:, :1], tokens, language[:, 1:]], dim=1)}
        words, memory = [], None
        for _ in range(self.chunk * self.sizes["tokens_per_step"]):
            read = self.llm(**given, past_key_values=memory, use_cache=True)
            words.append(self.lm_head(read.last_hidden_state[:, -1:]).argmax(-1))
            given, memory = {"input_ids": words[-1]}, read.past_key_values
        return torch.cat(words, dim=1)

    def act(self, words: torch.Tensor) -> torch.Tensor:
        bins = self.sizes["llm"]["vocab_size"] - 1 - words
        return (bins / 128.0 - 1).clamp(-1, 1).reshape(len(words), self.chunk, -1)


def build(sizes: dict) -> VLA:
    """The policy that `benchmarks.plain_torch.sizes` describes, with random weights."""
    return Speaking(sizes) if sizes["words"] else Regressing(sizes)
