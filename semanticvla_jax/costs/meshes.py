"""Which meshes are worth compiling for: every one, ranked by arithmetic.

The estimate ranks candidates and nothing else; what is reported comes from the compiled step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import jax

from semanticvla_jax.costs import components, inference
from semanticvla_jax.costs.products import Product
from semanticvla_jax.costs.topologies import Topology
from semanticvla_jax.errors import InputError
from semanticvla_jax.training import parameters, sharding

ROWS = ("o_proj", "down_proj", "fc2")  # a sum over `tensor` follows these products
ACTIVATION_BYTES = 2
PASSES = 3  # forward, recomputation, backward
NEAR = 4.0  # times the least traffic
SHARE_OF_MEMORY = 0.9  # for arguments; the rest is for what the step computes


def parse(text: str) -> dict[str, int]:
    """'data=1,fsdp=8' -> {'data': 1, 'fsdp': 8, 'tensor': 1}; one axis may be -1.

    Raises:
      InputError: not of this form, or an unknown axis.
    """
    sizes = dict.fromkeys(sharding.AXES, 1)
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        if axis not in sizes or not size.lstrip("-").isdigit():
            raise InputError(
                "--mesh",
                found=repr(text),
                expected="sizes of data, fsdp and tensor, as data=2,fsdp=8,tensor=4",
                fix="correct --mesh",
            )
        sizes[axis] = int(size)
    return sizes


def describe(sizes: Mapping[str, int]) -> str:
    """{'data': 1, 'fsdp': 8, 'tensor': 2} -> 'fsdp=8 tensor=2'; 'one chip'."""
    return " ".join(f"{axis}={size}" for axis, size in sizes.items() if size > 1) or "one chip"


def possible(chips: int, batch: int, heads: int) -> list[dict[str, int]]:
    """All meshes of powers of two (times what is left over in fsdp) that divide batch and heads."""
    found = []
    for tensor, data in itertools.product(_divisors(math.gcd(chips, heads)), _divisors(chips)):
        fsdp, rest = divmod(chips, tensor * data)
        if not rest and batch % (data * fsdp) == 0:
            found.append({"data": data, "fsdp": fsdp, "tensor": tensor})
    return found


def ranked(config: Any, topology: Topology, shapes: dict, selected: dict) -> list[dict[str, int]]:
    """Meshes whose arguments fit, fastest first by their estimated traffic; if none fits, all.

    Where their traffic is near, the best of each size of `tensor` come before all others: what that
    does to the towers, which it splits in part only, is for the compiler to say.

    Args:
      config: of a training run.
      shapes: of all parameters.
      selected: {name: whether it is trained}.

    Raises:
      InputError: the batch can be divided over no mesh of so many chips.
    """
    model = config.model.llm
    batch = config.batch_size // config.get("accumulate_steps", 1)
    meshes = possible(topology.count, batch, model.heads)
    if not meshes:
        raise InputError(
            "config.batch_size",
            found=f"{batch} samples at a time on {topology.count} chips",
            expected="a number that the chips of data and fsdp divide",
            fix="choose another batch size, or fewer accumulate_steps",
        )
    traced = inference.trace(config, prompt_tokens=config.data.prompt_length)
    summed = _summed_per_sample(shapes, traced.products)
    score = [_received(mesh, config, shapes, selected, summed) for mesh in meshes]
    fitting = [
        index
        for index, mesh in enumerate(meshes)
        if stored(mesh, shapes, selected) <= SHARE_OF_MEMORY * topology.chip.memory
    ]
    ordered = sorted(fitting or range(len(meshes)), key=score.__getitem__)
    near = [index for index in ordered if score[index] <= NEAR * score[ordered[0]]]
    first = {meshes[index]["tensor"]: index for index in reversed(near)}
    ordered.sort(key=lambda index: index not in first.values())
    return [meshes[index] for index in ordered]


def _received(mesh, config, shapes, selected, summed) -> float:
    """Bytes that a chip receives in a step, roughly."""
    gathered = reduced = 0.0
    flat, placed = parameters.flatten(shapes), parameters.flatten(_shardings(mesh, shapes))
    split = mesh["data"] * mesh["fsdp"]
    for name, leaf in flat.items():
        axes = set(jax.tree.leaves(tuple(placed[name].spec)))
        whole = leaf.size * ACTIVATION_BYTES / (mesh["tensor"] if "tensor" in axes else 1)
        if "fsdp" in axes and mesh["fsdp"] > 1:
            gathered += 2 * whole * (1 - 1 / mesh["fsdp"])
        if selected[name]:
            reduced += 2 * whole * (1 - 1 / split)
    samples = config.batch_size / split
    sums = 2 * (1 - 1 / mesh["tensor"]) * PASSES * summed * samples
    return gathered * config.get("accumulate_steps", 1) + reduced + sums


def stored(mesh: Mapping[str, int], shapes: dict, selected: Mapping[str, bool]) -> float:
    """Bytes of parameters, and Adam's state of those that are trained, on each chip."""
    placed = parameters.flatten(_shardings(mesh, shapes))
    return sum(
        math.prod(placed[name].shard_shape(leaf.shape))
        * leaf.dtype.itemsize
        * (3 if selected[name] else 1)
        for name, leaf in parameters.flatten(shapes).items()
    )


def _summed_per_sample(shapes: dict, traced: list[Product]) -> float:
    """Bytes of the activations behind row-split products, one forward pass of one sample."""
    rows: dict[str, int] = {}
    for product in traced:
        if product.module.endswith(ROWS):
            name = components.component(product.module)
            rows[name] = max(rows.get(name, 0), product.rows)
    total = 0
    for name, leaf in parameters.flatten(shapes).items():
        module = name.removesuffix("/kernel")
        if module != name and module.endswith(ROWS):
            layers = leaf.shape[0] if leaf.ndim == 3 else 1
            total += rows.get(components.component(module), 0) * leaf.shape[-1] * layers
    return total * ACTIVATION_BYTES


def _shardings(mesh: Mapping[str, int], shapes: dict) -> dict:
    abstract = jax.sharding.AbstractMesh(tuple(mesh[a] for a in sharding.AXES), sharding.AXES)
    return sharding.parameter_shardings(shapes, abstract)


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]
