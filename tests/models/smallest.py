"""The smallest complete model and a batch for it: compiles in seconds."""

from __future__ import annotations

import functools

import jax
import numpy as np

from semanticvla_jax.models import presets
from semanticvla_jax.models.build import build

# Compiling dominates these tests; running does not.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}
jit = functools.partial(jax.jit, compiler_options=QUICK)


def config(**slots) -> dict:
    """`presets.tiny()` shrunk: 16 px images, 16 patches, two blocks per tower, K = 2."""
    model = presets.tiny(chunk=2, vocab_size=40, text_length=8)
    for tower in ("siglip", "dino"):
        model[tower] |= {"image_size": 16, "width": 8, "depth": 2, "mlp_width": 8}
        model[tower]["patch_embed"] = {"name": "patches", "patch": 4}
    model["pruners"]["siglip"] |= {"anchors": 4, "cues": 2}
    model["pruners"]["text_encoder"] |= {"width": 8, "mlp_width": 8}
    model["pruners"]["dino"]["queries"] = 4
    model["llm"] |= {"width": 16, "depth": 1, "mlp_width": 16}
    model["head"]["hidden"] = (8,)
    return model | slots


def released(**slots) -> dict:
    """The same sizes with the released parts."""
    full = presets.semanticvla_7b_libero()
    model = config()
    model["coupler"] = {**full["coupler"], "chunk": 2}
    model["head"] = full["head"]
    return model | slots


def batch(size: int = 2, prompt: int = 6, seed: int = 0) -> dict[str, np.ndarray]:
    """Random observation of two cameras; prompts of different lengths, the first one full."""
    rng = np.random.default_rng(seed)
    lengths = np.maximum(prompt - 2 * np.arange(size), 1)
    text = rng.integers(2, 40, (size, 5), dtype=np.int32)
    text[:, 4] = 1
    return {
        "images": rng.integers(0, 256, (size, 2, 16, 16, 3), dtype=np.uint8),
        "state": rng.normal(size=(size, 8)).astype(np.float32),
        "prompt_ids": rng.integers(3, 40, (size, prompt), dtype=np.int32),
        "prompt_mask": np.arange(prompt)[None] < lengths[:, None],
        "text_ids": text,
    }


@functools.cache
def built(kind: str = "tiny"):
    """(model, parameters, compiled (params, batch) -> (actions, intermediates))."""
    model = build({"tiny": config, "released": released}[kind]())
    params = jit(lambda: model.init(jax.random.key(0), batch()))()["params"]
    return model, params, jit(lambda p, b: model.apply({"params": p}, b))
