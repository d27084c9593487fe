"""Rules for single torch layers, shared by all families that come from torch.

`source` is the regex of a foreign prefix, `target` ours. Linear layers carry rules for their PEFT
adapters (`base_layer`, `lora_A`, `lora_B`).
"""

from __future__ import annotations

from semanticvla_jax.weights.layouts import transposed
from semanticvla_jax.weights.rules import Rule, ignore

NEVER_RUN = "never run: features are taken from a block's output"
POOLING_HEAD = "pooling head, never run"


def linear(source: str, target: str) -> list[Rule]:
    """torch Linear, with or without a PEFT adapter."""
    return [
        *plain_linear(rf"{source}(?:\.base_layer)?", target),
        Rule(rf"{source}\.lora_A\.(?:\w+\.)?weight", f"{target}/lora_a", transposed),
        Rule(rf"{source}\.lora_B\.(?:\w+\.)?weight", f"{target}/lora_b", transposed),
    ]


def plain_linear(source: str, target: str, part: int = 0) -> list[Rule]:
    """torch Linear without an adapter; `part` of a fused product, where it is one of several."""
    return [
        Rule(rf"{source}\.weight", f"{target}/kernel", transposed, part),
        Rule(rf"{source}\.bias", f"{target}/bias", part=part),
    ]


def layer_norm(source: str, target: str) -> list[Rule]:
    """torch LayerNorm or RMSNorm."""
    return [
        Rule(rf"{source}\.weight", f"{target}/scale"),
        Rule(rf"{source}\.bias", f"{target}/bias"),
    ]


def last_norm(source: str, target: str, *, owned: bool) -> list[Rule]:
    """A vision tower's last LayerNorm, which a tower inside a VLA does not own."""
    return layer_norm(source, target) if owned else [ignore(rf"{source}\..*", NEVER_RUN)]
