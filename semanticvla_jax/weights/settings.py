"""What a checkpoint assumes of a model and no shape shows: activations, epsilons, heads, masks.

Settings are named by their place in the built model, e.g. "siglip.activation".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flax import linen as nn

from semanticvla_jax.models.lora import LoRA

# Hugging Face's names of activations -> ours.
ACTIVATIONS = {"gelu": "gelu_exact", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}

# timm 0.9, which OpenVLA and the authors ran: exact GELU in SigLIP too.
TIMM_SIGLIP = {"siglip.activation": "gelu_exact", "siglip.epsilon": 1e-6}
TIMM_DINOV2 = {"dino.activation": "gelu_exact", "dino.epsilon": 1e-6}
BIG_VISION_IMAGE = {"siglip.activation": "gelu_tanh", "siglip.epsilon": 1e-6}
TEXT = {
    "pruners.text_encoder.activation": "gelu_tanh",
    "pruners.text_encoder.epsilon": 1e-6,
}
# How the released code builds the decoder's sequence.
RELEASED = {"coupler.mask": "hybrid_mask", "coupler.first_row": "shifted_left"}


def llama(config: Mapping[str, Any], *, epsilon: float = 1e-6) -> dict[str, Any]:
    """Settings of a LlamaConfig, in which absent keys mean transformers' defaults.

    Args:
      config: parsed `config.json`, or {}.
      epsilon: of the norms where the file does not say.
    """
    return {
        "llm.rms_epsilon": config.get("rms_norm_eps", epsilon),
        "llm.rope_theta": config.get("rope_theta", 10000.0),
        "llm.rope_scaling": config.get("rope_scaling"),
        "llm.activation": _activation(config.get("hidden_act", "silu")),
    } | _heads("llm", config)


def siglip_vision(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a SiglipVisionConfig."""
    return _encoder("siglip", config, "gelu_pytorch_tanh")


def siglip_text(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a SiglipTextConfig."""
    return _encoder("pruners.text_encoder", config, "gelu_pytorch_tanh")


def dinov2(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a Dinov2WithRegistersConfig."""
    return _encoder("dino", config, "gelu")


def adapters(peft: Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings of PEFT's adapter_config.json: shapes show the rank, nothing shows alpha."""
    if peft is None:
        return {}
    return {
        "lora.rank": peft.get("r"),
        "lora.alpha": peft.get("lora_alpha"),
        "lora.use_rslora": peft.get("use_rslora") or None,
        "lora.use_dora": peft.get("use_dora") or None,
    }


def differences(model: nn.Module, expected: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """{setting: (the model's, the checkpoint's)} where they differ; absent ones are None."""
    found = {name: _look_up(model, name) for name in expected}
    return {n: (found[n], expected[n]) for n in expected if found[n] != expected[n]}


def lora_of(model: nn.Module) -> LoRA | None:
    """The adapter of the language model's layers, or None."""
    return getattr(model.llm.dense, "keywords", {}).get("lora")


def _look_up(model: nn.Module, name: str) -> Any:
    first, _, rest = name.partition(".")
    value = lora_of(model) if first == "lora" else getattr(model, first, None)
    for attribute in rest.split("."):
        value = getattr(value, attribute, None)
    return getattr(value, "__name__", value)


def _encoder(slot: str, config: Mapping[str, Any], activation: str) -> dict[str, Any]:
    return {
        f"{slot}.activation": _activation(config.get("hidden_act", activation)),
        f"{slot}.epsilon": config.get("layer_norm_eps", 1e-6),
    } | _heads(slot, config)


def _heads(slot: str, config: Mapping[str, Any]) -> dict[str, Any]:
    heads = config.get("num_attention_heads")
    return {f"{slot}.heads": heads} if heads else {}


def _activation(name: str) -> str:
    return ACTIVATIONS.get(name, name)
