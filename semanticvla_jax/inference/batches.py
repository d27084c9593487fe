"""Batches of the few sizes that are compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def fitting(sizes: Sequence[int], need: int) -> int:
    """The smallest of ascending sizes that is enough."""
    return next(size for size in sizes if size >= need)


def padded(rows: Sequence[Item], sizes: Sequence[int]) -> list[Item]:
    """`rows`, the last one repeated up to the smallest of the ascending `sizes` that holds them."""
    return [*rows, *[rows[-1]] * (fitting(sizes, len(rows)) - len(rows))]
