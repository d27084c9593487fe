"""Which component of the model a module or a parameter belongs to, and which stage that runs in.

One list of (regex, component) serves both, because modules and parameters carry the same names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MODULES: Sequence[tuple[str, str]] = (
    # A decoder that runs in a loop appears under its class's name.
    (r"(.*/)?(llm|\w*Llama)/(.*/)?lm_head(/.*)?", "lm_head"),
    (r"(.*/)?(llm|\w*Llama)(/.*)?", "LLM"),
    (r"pruners/(.*/)?text_encoder/.*", "SigLIP text"),
    (r"pruners/(.*/)?text_projector/.*", "text MLP"),
    (r"pruners/(.*/)?films_\d+/.*", "FiLM"),
    (r"pruners/(.*/)?queries", "queries"),
    (r"pruners/.*", "pruners"),
    (r"fuser/dense_fuser/.*", "Dense-Fuser"),
    (r"fuser/(.*/)?\w*cue_projector/.*", "cue projector"),
    (r"fuser/(.*/)?projector/.*", "Sparse-Fuser projector"),
    (r"coupler/(.*/)?proprio_projector/.*", "proprioception"),
    (r"coupler/(.*/)?placeholders/.*", "placeholders"),
    (r"(coupler/)?head/.*", "head"),
    (r"siglip/.*", "SigLIP"),
    (r"dino/.*", "DINOv2"),
    (r"(\w+).*", r"other (\1)"),
)

# Parameters of adapters are a component of their own, and the vocabulary head is the LLM's.
PARAMETERS: Sequence[tuple[str, str]] = (
    (r".*/lora_[ab]", "LoRA"),
    (r"llm/.*", "LLM"),
    *MODULES,
)

TEXT = ("SigLIP text", "text MLP")
TRANSFORMERS = ("DINOv2", "SigLIP", "SigLIP text", "LLM")  # their activation products: attention
ENCODERS = ("DINOv2", "SigLIP", *TEXT, "FiLM", "pruners", "Dense-Fuser")
LANGUAGE = ("LLM", "lm_head")


def component(name: str, rules: Sequence[tuple[str, str]] = MODULES) -> str:
    """The component of a module path or parameter name: the first rule that matches all of it."""
    for pattern, value in rules:
        if found := re.fullmatch(pattern, name):
            return found.expand(value)
    return "other"
