"""Accelerators: peak bf16 rate, memory, and how fast chips talk to each other."""

from __future__ import annotations

from dataclasses import dataclass

from semanticvla_jax.errors import choose


@dataclass(frozen=True)
class Chip:
    """One chip; rates in FLOP/s and B/s, memory in B (10^9 per GB).

    Attributes:
      peak: in bf16, dense.
      bandwidth: of its memory.
      link: to one neighbour of a TPU's torus, or of a GPU to its whole node; one direction.
      axes: dimensions of the torus; 0 for GPUs, all of whose chips in a node are neighbours.
      wraps: length from which an axis of the torus is closed to a ring.
      node: chips of a node.
      network: of a GPU to other nodes, one direction.
    """

    name: str
    peak: float
    bandwidth: float
    memory: float
    link: float = 0.0
    axes: int = 0
    wraps: int = 0
    node: int = 8
    network: float = 0.0


_CHIPS = (
    # Vendors' figures, but for the H200, whose peak and bandwidth were measured. A TPU's link is
    # its published bidirectional rate per chip, over both directions and its 4 or 6 links; GPUs
    # have half of NVLink's bidirectional rate, and 400 Gbit/s each between nodes.
    Chip("a800", 312e12, 2.0e12, 80e9, link=200e9, network=50e9),
    Chip("h200", 790e12, 4.3e12, 141e9, link=450e9, network=50e9),
    Chip("v5e", 197e12, 0.82e12, 16e9, link=50e9, axes=2, wraps=16),
    Chip("v5p", 459e12, 2.765e12, 95e9, link=100e9, axes=3, wraps=4, node=4),
    Chip("v6e", 918e12, 1.64e12, 32e9, link=100e9, axes=2, wraps=16),
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
