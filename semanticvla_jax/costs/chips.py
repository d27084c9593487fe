"""Accelerators: peak bf16 rate, memory bandwidth and memory of one chip."""

from __future__ import annotations

from dataclasses import dataclass

from semanticvla_jax.errors import choose


@dataclass(frozen=True)
class Chip:
    """peak FLOP/s in bf16, dense; bandwidth of its memory in B/s; memory in B (10^9 per GB)."""

    name: str
    peak: float
    bandwidth: float
    memory: float


_CHIPS = (
    # Vendors' figures, but for the H200, whose peak and bandwidth were measured.
    Chip("a800", 312e12, 2.0e12, 80e9),
    Chip("h200", 790e12, 4.3e12, 141e9),
    Chip("v5e", 197e12, 0.82e12, 16e9),
    Chip("v5p", 459e12, 2.765e12, 95e9),
    Chip("v6e", 918e12, 1.64e12, 32e9),
)
CHIPS: dict[str, Chip] = {chip.name: chip for chip in _CHIPS}


def find_chip(name: str) -> Chip:
    """The chip of that name, upper or lower case.

    Raises:
      InputError: unknown; lists the choices.
    """
    return choose(
        CHIPS, name.lower(), "--chip", fix="or add yours to semanticvla_jax/costs/chips.py"
    )
