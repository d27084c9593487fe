"""Foreign weights onto devices, one parameter at a time, each device getting its own part only."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Sharding

from semanticvla_jax.weights.lazy_array import LazyArray
from semanticvla_jax.weights.rules import Piece, Report, Rule, Target, fill, plan

Progress = Callable[[str, int], None]


def stream(
    source: Mapping[str, LazyArray],
    rules: Sequence[Rule],
    shapes: Mapping,
    shardings: Mapping,
    *,
    fresh: Sequence[str] = (),
    progress: Progress = lambda name, size: None,
) -> tuple[dict, Report]:
    """`rules.convert` into sharded arrays, with little host memory.

    Beside the finished parameters the host holds one layer of one parameter in our dtype, one
    source array of it, and for a moment the layer before, which jax gives back late.

    Args:
      source: foreign name -> array, as `files.open_weights` gives them.
      rules, shapes, fresh: see `rules.plan`; parameters get the dtypes of `shapes`.
      shardings: nested like `shapes`, see `training.sharding.parameter_shardings`.
      progress: called with each finished parameter's name and size in bytes.

    Returns:
      (nested dict of jax arrays, without fresh ones; report).

    Raises:
      InputError: as `rules.plan`; before any value is read.
    """
    targets, report = plan(source, rules, shapes, fresh=fresh)
    shardings = flatten_dict(shardings, sep="/")
    params = {}
    for target in targets:
        params[target.name] = _place(target, source, shardings[target.name])
        progress(target.name, params[target.name].nbytes)
    return unflatten_dict(params, sep="/"), report


def _place(target: Target, source: Mapping[str, LazyArray], sharding: Sharding) -> jax.Array:
    """One parameter in its final sharding; layers of a stacked one arrive one after the other."""
    indices = sharding.addressable_devices_indices_map(target.shape)
    layers = target.layers()
    if layers.keys() == {None}:
        parts = _put(_read(target.shape, target.dtype, source, target.pieces), indices)
    else:
        size = sharding.shard_shape(target.shape)
        parts = {device: jnp.zeros(size, target.dtype, device=device) for device in indices}
        for layer, pieces in layers.items():
            owners = _owners(layer, target.shape[0], indices)
            array = _read(target.shape[1:], target.dtype, source, pieces)
            rows = _put(array, {device: index for device, (_, index) in owners.items()})
            del array  # Before the next one is read.
            for device, (place, _) in owners.items():
                parts[device] = _with_row(parts[device], rows.pop(device), place)
            jax.block_until_ready(list(parts.values()))
    return jax.make_array_from_single_device_arrays(target.shape, sharding, list(parts.values()))


def _put(array: np.ndarray, indices: Mapping[jax.Device, tuple]) -> dict[jax.Device, jax.Array]:
    """Each device's part of an array. Waits: until a transfer ends it keeps the host's array."""
    parts = {device: jax.device_put(array[index], device) for device, index in indices.items()}
    jax.block_until_ready(list(parts.values()))
    return parts


def _owners(layer: int, depth: int, indices: Mapping[jax.Device, tuple]) -> dict:
    """device -> (the layer's place in the device's part of the stack, index of the rest)."""
    held = {device: range(depth)[index[0]] for device, index in indices.items()}
    return {
        device: (held[device].index(layer), indices[device][1:])
        for device in indices
        if layer in held[device]
    }


def _read(
    shape: tuple[int, ...],
    dtype: np.dtype,
    source: Mapping[str, LazyArray],
    pieces: Sequence[Piece],
) -> np.ndarray:
    array = np.empty(shape, dtype)
    fill(array, source, pieces)
    return array


@functools.partial(jax.jit, donate_argnums=0)
def _with_row(stack: jax.Array, row: jax.Array, place: int) -> jax.Array:
    """[L, ...] with `row` [...] at `place`, in the same memory."""
    return jax.lax.dynamic_update_index_in_dim(stack, row, place, axis=0)
