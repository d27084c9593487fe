"""The released model at toy sizes, with parameters of random bits: nothing is compiled."""

from __future__ import annotations

import functools
import json

import jax
import numpy as np

from semanticvla_jax.models import abstract, presets
from semanticvla_jax.models.build import build
from semanticvla_jax.robots import LIBERO
from semanticvla_jax.weights.rules import flatten_dict, unflatten_dict


def released(
    *, width: int = 8, depth: int = 2, scan: bool = True, lora: bool = True, dtype: str = "bfloat16"
) -> dict:
    """`presets.semanticvla_7b_libero` shrunk; pretrained parts in `dtype`."""
    config = presets.semanticvla_7b_libero()
    sizes = {"width": width, "depth": depth, "heads": 2, "mlp_width": 2 * width}
    for tower in ("siglip", "dino"):
        patches = {"name": "patches", "patch": 4}
        config[tower] |= {**sizes, "image_size": 16, "patch_embed": patches, "param_dtype": dtype}
    config["dino"]["width"] = width + 4
    config["pruners"]["text_encoder"] |= {
        **sizes,
        "vocab_size": 24,
        "length": 6,
        "param_dtype": dtype,
    }
    config["pruners"]["siglip"] |= {"anchors": 4, "cues": 2}
    config["pruners"]["dino"]["queries"] = 4
    config["fuser"]["dense_fuser"]["pairs"] = tuple((i, i) for i in range(depth))
    config["llm"] |= {**sizes, "vocab_size": 40, "scan": scan, "param_dtype": dtype}
    config["lora"] = {"rank": 2, "alpha": 4} if lora else None
    return config


def shapes_of(config: dict) -> dict:
    """Nested dict of the parameters' shapes."""
    return _shapes(json.dumps(config))


@functools.cache
def _shapes(config: str) -> dict:
    config = json.loads(config)
    return abstract.init(build(config), abstract.abstract_batch(config, LIBERO, 3))


def random_parameters(config: dict, seed: int = 0) -> dict:
    """Every parameter drawn from N(0, 1)."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        return rng.standard_normal(leaf.shape, np.float32).astype(leaf.dtype)

    return jax.tree.map(draw, shapes_of(config))


def assert_bitwise_equal(first: dict, second: dict) -> None:
    first, second = flatten_dict(first, sep="/"), flatten_dict(second, sep="/")
    assert first.keys() == second.keys()
    for name in first:
        a, b = np.asarray(first[name]), np.asarray(second[name])
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), name


def only(tree: dict, keep) -> dict:
    """The part of a nested dict whose names `keep` accepts."""
    flat = flatten_dict(tree, sep="/")
    return unflatten_dict({name: leaf for name, leaf in flat.items() if keep(name)}, sep="/")
