"""Checksums of arrays, the same on every mesh, and of JSON: they show what a disk changed.

Orbax notices a truncated file, but not a changed byte in an array's data.
"""

from __future__ import annotations

import functools
import json
import zlib
from typing import Any

import jax
import jax.numpy as jnp

_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}


@jax.jit
def of_arrays(tree: Any) -> jax.Array:
    """u32[]: sum over all words of all arrays, each times an odd number that stands for its place.

    Integers modulo 2^32, so that neither the mesh nor the order of the sum matters. One changed
    word always changes it.
    """
    sums = [
        _of_array(leaf) * jnp.uint32(zlib.crc32(jax.tree_util.keystr(path).encode()) | 1)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    return functools.reduce(jnp.add, sums, jnp.uint32(0))


def _of_array(array: jax.Array) -> jax.Array:
    if array.dtype == jnp.bool_:
        array = array.astype(jnp.uint8)
    words = jax.lax.bitcast_convert_type(array, _WORDS[array.dtype.itemsize]).astype(jnp.uint32)
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis, size in enumerate(words.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return jnp.sum(words * (2 * place + 1), dtype=jnp.uint32)


def of_json(value: Any) -> int:
    """Of a JSON-able value, the same before and after its way through a file."""
    plain = json.loads(json.dumps(value))
    return zlib.crc32(json.dumps(plain, sort_keys=True).encode())
