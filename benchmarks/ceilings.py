"""What this machine's first device reaches in JAX: a large copy and a large matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

COPY_BYTES = {"cpu": 1 << 30, "gpu": 1 << 32, "tpu": 1 << 30}
PRODUCT_SIZE = {"cpu": 2048, "gpu": 8192, "tpu": 8192}


def copy_rate(size: int | None = None) -> float:
    """B/s, read and written, of the best of ten copies of `size` bytes (negated on the way)."""
    size = size or COPY_BYTES[jax.default_backend()]
    source = jnp.ones(size // 4, jnp.float32)
    return 2 * size / _best(jax.jit(jnp.negative), source)


def product_rate(dtype: Any, size: int | None = None) -> float:
    """FLOP/s of the best of ten products of two random size x size matrices."""
    size = size or PRODUCT_SIZE[jax.default_backend()]
    a, b = (jax.random.normal(jax.random.key(n), (size, size), dtype) for n in range(2))
    return 2 * size**3 / _best(jax.jit(jnp.matmul), a, b)


def _best(function: Callable, *arguments: Any, count: int = 10) -> float:
    """Seconds of the quickest of `count` calls after two more."""
    seconds = []
    for _ in range(count + 2):
        began = time.perf_counter()
        function(*arguments).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return min(seconds[2:])
