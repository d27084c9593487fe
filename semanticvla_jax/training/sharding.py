"""One mesh (data, fsdp, tensor) and ordered (regex, axes) rules for the parameters.

`data` and `fsdp` both split the batch. `fsdp` also splits every large parameter and its optimizer
state, gathered where it is used. `tensor` splits products: MLPs and the decoder's attention are cut
by columns (outputs: neurons, heads) and then by rows (inputs), so that one sum ends each pair.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from semanticvla_jax.errors import InputError
from semanticvla_jax.models.layers import Dense
from semanticvla_jax.training import parameters

AXES = ("data", "fsdp", "tensor")
BATCH = PartitionSpec(("data", "fsdp"))
LARGE = 2**20  # scalars; a larger parameter that a rule cannot split as it says is told

Axes = tuple[str | tuple[str, ...] | None, ...]

_COLUMNS = r".*/(((q|k|v|gate|up)_proj)|fc1|lm_head)"
_ROWS = r".*/(((o|down)_proj)|fc2)"
_TOKENS = r"queries|pos_embed|(cls|reg)_token|placeholders/(learned|types)|places"

# The axes of a parameter's last dimensions: kernels are [in, out], those of scanned layers
# [depth, in, out]. A tower's `qkv` holds q | k | v side by side; a cut by columns would not follow
# the heads, so a tower's attention is split over `fsdp` alone.
PARAMETER_RULES: tuple[tuple[str, Axes], ...] = (
    (rf"{_COLUMNS}/kernel", ("fsdp", "tensor")),
    (rf"{_COLUMNS}/lora_a", ("fsdp", None)),
    (rf"{_COLUMNS}/lora_b", (None, ("tensor", "fsdp"))),
    (rf"{_COLUMNS}/bias", ("tensor",)),
    (rf"{_ROWS}/kernel", ("tensor", "fsdp")),
    (rf"{_ROWS}/lora_a", (("tensor", "fsdp"), None)),
    (rf"{_ROWS}/lora_b", (None, "fsdp")),
    (r".*/lora_a", ("fsdp", None)),
    (r".*/lora_b", (None, "fsdp")),
    (r".*/kernel", ("fsdp", None)),
    (r".*/embedding", (None, "fsdp")),
    (r".*/(bias|scale|ls[12])", ()),
    (rf".*/({_TOKENS})", ()),
)


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1, devices=None) -> Mesh:
    """A mesh over all devices; one device is a mesh of one. An axis of -1 takes what is left.

    Raises:
      InputError: the axes do not multiply to the number of devices.
    """
    devices = np.asarray(jax.devices() if devices is None else devices)
    sizes = [data, fsdp, tensor]
    if sizes.count(-1) == 1:
        free = sizes.index(-1)
        sizes[free] = max(1, devices.size // -math.prod(sizes))
    if math.prod(sizes) != devices.size or min(sizes) < 1:
        raise InputError(
            "mesh",
            found=f"data={data} x fsdp={fsdp} x tensor={tensor}",
            expected=f"a product of {devices.size}, the number of devices",
            fix="change config.mesh",
        )
    return Mesh(devices.reshape(sizes), AXES)


def parameter_shardings(shapes: dict, mesh: Mesh, rules=PARAMETER_RULES) -> dict:
    """NamedSharding for each parameter, same nesting as `shapes`.

    A dimension that its axes do not divide stays whole: towers and heads have widths that no large
    mesh divides (SigLIP's MLP has 4,304 neurons), and the rest of the model need not suffer for
    them. For a large parameter that is logged, with its dimension and axis.

    Raises:
      InputError: parameters that no rule matches.
    """
    specs = parameters.match(shapes, rules, purpose="sharding")
    flat = parameters.flatten(shapes)
    return parameters.unflatten(
        {
            name: NamedSharding(mesh, _fitted(name, leaf.shape, specs[name], mesh))
            for name, leaf in flat.items()
        }
    )


def _fitted(name: str, shape: tuple[int, ...], axes: Axes, mesh: Mesh) -> PartitionSpec:
    """Right-aligns a rule's axes to a shape and drops those that do not divide."""
    axes = axes[-len(shape) :] if shape else ()
    axes = (None,) * (len(shape) - len(axes)) + tuple(axes)
    fitted = []
    for dimension, (size, axis) in enumerate(zip(shape, axes, strict=True)):
        parts = _parts(mesh, axis)
        if size % parts and math.prod(shape) > LARGE:
            logging.warning(
                "%s%s: %d devices of mesh axis %s do not divide dimension %d, which stays whole",
                *(name, list(shape), parts, axis, dimension),
            )
        fitted.append(axis if size % parts == 0 else None)
    return PartitionSpec(*fitted)


def _parts(mesh: Mesh, axis: str | tuple[str, ...] | None) -> int:
    names = (axis,) if isinstance(axis, str) else axis or ()
    return math.prod(mesh.shape[name] for name in names)


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def keep_batch_split(function: Callable, mesh: Mesh) -> Callable:
    """`function`, with the rows of every Dense layer's input and output split as the batch is.

    So weights are gathered where they are used. Left to itself, XLA may split activations by their
    features instead, because weights are, and move whole batches of them between devices.
    """
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if parts == 1:
        return function

    def split(x: jax.Array) -> jax.Array:
        if x.shape[0] % parts:
            return x
        free = (PartitionSpec.UNCONSTRAINED,) * (x.ndim - 1)
        spec = NamedSharding(mesh, PartitionSpec(*BATCH, *free))
        return jax.lax.with_sharding_constraint(x, spec)

    def intercept(method, arguments, options, context):
        if isinstance(context.module, Dense) and context.method_name == "__call__":
            return split(method(split(arguments[0])))
        return method(*arguments, **options)

    @functools.wraps(function)
    def intercepted(*arguments):
        with nn.intercept_methods(intercept):
            return function(*arguments)

    return intercepted


def compiler_options(mesh: Mesh) -> dict[str, str] | None:
    """For `jax.jit`, by the mesh's kind of device.

    On TPUs XLA would turn each gathering of a weight into a loop over its parts, of products too
    thin for the matrix units; gathering ahead of whole products overlaps as well.
    """
    if mesh.devices.flat[0].platform != "tpu":
        return None
    return {"xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000"}


def batch_share(mesh: Mesh, process: int | None = None) -> tuple[int, int]:
    """(index, count): this process feeds part `index` of `count` equal parts of every batch.

    Processes that differ only in their place on the tensor axis feed the same part.

    Args:
      mesh: of all processes' devices.
      process: another process's number, to ask for that one.
    """
    process = jax.process_index() if process is None else process
    rows = mesh.devices.reshape(-1, mesh.shape["tensor"])
    mine = [
        row for row, devices in enumerate(rows) if any(d.process_index == process for d in devices)
    ]
    return mine[0] // len(mine), len(rows) // len(mine)


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Host batch (this process's part) -> global arrays split over the batch axes.

    Raises:
      InputError: the batch does not divide over the devices of the batch axes.
    """
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    size = len(next(iter(batch.values()))) * batch_share(mesh)[1]
    if size % parts:
        raise InputError(
            "global batch",
            found=f"{size} samples over {parts} data-parallel devices",
            expected="a multiple of the devices",
            fix="change config.batch_size or config.mesh",
        )
    sharding = NamedSharding(mesh, BATCH)
    return {
        name: jax.make_array_from_process_local_data(
            sharding, np.asarray(value), (size, *np.shape(value)[1:])
        )
        for name, value in batch.items()
    }


def like(tree: Any, shapes: Any, mesh: Mesh, parameter_sharding: dict) -> Any:
    """Shardings for an optimizer state: leaves that mirror a parameter are sharded like it.

    A leaf mirrors the parameter whose name ends its path and whose shape it shares; the rest (step
    counters) is replicated.
    """
    flat_shapes = parameters.flatten(shapes)
    flat_shardings = parameters.flatten(parameter_sharding)

    def sharding_of(path, leaf):
        keys = [str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path]
        for start in range(len(keys)):
            name = "/".join(keys[start:])
            if name in flat_shapes and flat_shapes[name].shape == leaf.shape:
                return flat_shardings[name]
        return replicated(mesh)

    return jax.tree_util.tree_map_with_path(sharding_of, tree)
