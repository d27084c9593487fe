"""One mesh (data, fsdp, tensor) and ordered (regex, PartitionSpec) rules for the parameters."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import parameters

AXES = ("data", "fsdp", "tensor")
BATCH = PartitionSpec(("data", "fsdp"))

# Kernels are [..., in, out]; scanned layers carry a leading depth axis, hence the negative indexing
# in `_aligned`. Column-parallel products split their output, row-parallel ones their input.
PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r".*lora_[ab]", (None, None)),
    (r".*/(q|k|v|qkv|gate|up|fc1)(_proj)?/kernel", ("fsdp", "tensor")),
    (r".*/(o|out|down|proj|fc2)(_proj)?/kernel", ("tensor", "fsdp")),
    (r".*embed.*/embedding", (None, "fsdp")),
    (r".*/kernel", ("fsdp", None)),
    (r".*", ()),
)


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1, devices=None) -> Mesh:
    """A mesh over all devices; one device is a mesh of one. `data=-1` takes what the others leave.

    Raises:
      InputError: the axes do not multiply to the number of devices.
    """
    devices = np.asarray(jax.devices() if devices is None else devices)
    if data == -1:
        data = max(1, devices.size // (fsdp * tensor))
    if data * fsdp * tensor != devices.size:
        raise InputError(
            "mesh",
            found=f"data={data} x fsdp={fsdp} x tensor={tensor}",
            expected=f"a product of {devices.size}, the number of devices",
            fix="change config.mesh",
        )
    return Mesh(devices.reshape(data, fsdp, tensor), AXES)


def parameter_shardings(shapes: dict, mesh: Mesh, rules=PARAMETER_RULES) -> dict:
    """NamedSharding for each parameter, same nesting as `shapes`.

    An axis that does not divide its dimension is left unsharded (small models on large meshes).
    """
    specs = parameters.match(shapes, rules, purpose="sharding")
    flat = parameters.flatten(shapes)
    return parameters.unflatten(
        {
            name: NamedSharding(mesh, _aligned(specs[name], leaf.shape, mesh))
            for name, leaf in flat.items()
        }
    )


def _aligned(spec: tuple[str | None, ...], shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """Right-aligns a rule's spec to a shape and drops axes that do not divide."""
    spec = spec[-len(shape) :] if shape else ()
    padded = (None,) * (len(shape) - len(spec)) + tuple(spec)
    return PartitionSpec(
        *(
            axis if axis is not None and size % mesh.shape[axis] == 0 else None
            for axis, size in zip(padded, shape, strict=True)
        )
    )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Host batch (this process's part) -> global arrays split over the batch axes.

    Raises:
      InputError: the batch does not divide over the devices of the batch axes.
    """
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    size = len(next(iter(batch.values()))) * jax.process_count()
    if size % parts:
        raise InputError(
            "global batch",
            found=f"{size} samples over {parts} data-parallel devices",
            expected="a multiple of the devices",
            fix="change config.batch_size or config.mesh",
        )
    sharding = NamedSharding(mesh, BATCH)
    return {
        name: jax.make_array_from_process_local_data(sharding, np.asarray(value))
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
