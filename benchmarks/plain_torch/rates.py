"""What this machine reaches in torch: a large copy and a large matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def copy_rate(device: str, size: int) -> float:
    """B/s, read and written, of the best of ten copies of `size` bytes."""
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / best(lambda: target.copy_(source), device)


def product_rate(device: str, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of the best of ten products of two random size x size matrices."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / best(lambda: a @ b, device)


def best(call: Callable[[], object], device: str, count: int = 10) -> float:
    """Seconds of the quickest of `count` calls after two more."""
    seconds = []
    for _ in range(count + 2):
        synchronize(device)
        began = time.perf_counter()
        call()
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[2:])


def synchronize(device: str) -> None:
    """Waits for the device."""
    if device == "cuda":
        torch.cuda.synchronize()
