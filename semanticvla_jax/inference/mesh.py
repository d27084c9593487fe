"""One model over several devices, whose memories hold it together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from semanticvla_jax.errors import InputError
from semanticvla_jax.inference.compiled import Compiler
from semanticvla_jax.training import sharding


def find_compiler(mesh: str) -> Compiler:
    """The compiler for 'tensor=N', or for one device if that is empty.

    Raises:
      InputError: anything else, or fewer devices than that.
    """
    return MeshCompiler(parse_mesh(mesh)) if mesh else Compiler()


def parse_mesh(text: str) -> Mesh:
    """'tensor=2' -> a mesh of that many of this machine's devices.

    Raises:
      InputError: anything else, or fewer devices than that.
    """
    axis, _, size = text.partition("=")
    if axis != "tensor" or not size.isdecimal() or int(size) < 1:
        raise InputError(
            "--mesh", found=text, expected="tensor=N", fix="for example --mesh tensor=2"
        )
    devices = jax.devices()
    if len(devices) < int(size):
        raise InputError(
            "--mesh",
            found=text,
            expected=f"at most {len(devices)}, the devices of this machine",
            fix="use a smaller mesh",
        )
    return sharding.make_mesh(data=1, fsdp=1, tensor=int(size), devices=devices[: int(size)])


class MeshCompiler(Compiler):
    """Programs for all devices of a mesh; parameters are split by training's own rules."""

    def __init__(self, mesh: Mesh):
        super().__init__(sharding.compiler_options(mesh), sharding.replicated(mesh))
        self._mesh = mesh

    def place(self, params: dict) -> dict:
        """Parameters, split over the devices."""
        return jax.device_put(params, parameter_shardings(params, self._mesh))

    def placed_shapes(self, shapes: dict) -> dict:
        return jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            shapes,
            sharding.parameter_shardings(shapes, self._mesh),
        )

    def _shardings(self, leaves: Sequence[jax.Array], arguments: int) -> dict[str, Any]:
        split = [leaf.sharding for leaf in leaves]
        return {"in_shardings": (split, *[self._whole] * arguments), "out_shardings": self._whole}


def parameter_shardings(params: dict, mesh: Mesh) -> dict:
    """As `training.sharding`'s; quantised kernels like kernels, their scales along with them."""

    def is_array(leaf: Any) -> bool:
        return hasattr(leaf, "qvalue")

    kernels = jax.tree.map(
        lambda leaf: leaf.qvalue if is_array(leaf) else leaf, params, is_leaf=is_array
    )
    split = sharding.parameter_shardings(kernels, mesh)

    def along(leaf: Any, kernel: NamedSharding) -> Any:
        if not is_array(leaf):
            return kernel
        axes = [*kernel.spec, *[None] * (leaf.ndim - len(kernel.spec))]
        fitting = [
            axis if axis and size % _parts(mesh, axis) == 0 else None
            for axis, size in zip(axes, leaf.scale.shape, strict=True)
        ]
        return leaf.replace(qvalue=kernel, scale=NamedSharding(mesh, PartitionSpec(*fitting)))

    return jax.tree.map(along, params, split, is_leaf=is_array)


def _parts(mesh: Mesh, axis: str | tuple[str, ...]) -> int:
    size = 1
    for name in (axis,) if isinstance(axis, str) else axis:
        size *= mesh.shape[name]
    return size
