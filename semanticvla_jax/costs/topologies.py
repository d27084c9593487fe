"""Chips and how they are connected, as `v5e:8x16`, `v5p:4x4x8`, `h200x8`; their devices.

JAX compiles for TPUs without one, through libtpu (requirements/plan.txt). It cannot for GPUs
(`topology not implemented for cuda`); their programs are compiled for as many chips of STAND_IN.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from semanticvla_jax.costs.chips import CHIPS, Chip
from semanticvla_jax.errors import InputError

STAND_IN = "v5p"
STAND_IN_SHAPES = {1: (1, 1, 1), 2: (1, 1, 2), 4: (1, 2, 2), 8: (2, 2, 2), 16: (2, 2, 4)}
# So that libtpu neither looks for the machine it is on nor claims it for one process.
LIBTPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
EXPECTED = "CHIP:AxB, as v5e:8x16 or v6e:4x4, v5p:AxBxC, or GPUxN, as h200x8"


@dataclass(frozen=True)
class Topology:
    """Connected chips.

    Attributes:
      shape: of the torus; (N,) of N GPUs.
    """

    name: str
    chip: Chip
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def compiles(self) -> bool:
        """The compiler for these very chips is at hand; for others there is only an estimate."""
        return self.chip.axes > 0

    @property
    def interconnect(self) -> float:
        """B/s that every chip can receive: that of the one with the fewest links.

        At the ends of an axis that is no ring a chip has one link instead of two.
        """
        if not self.chip.axes:
            return self.chip.link if self.count <= self.chip.node else self.chip.network
        links = sum(
            0 if length == 1 else 2 if length >= self.chip.wraps else 1 for length in self.shape
        )
        return links * self.chip.link


def find_topology(name: str) -> Topology:
    """Reads a topology's name.

    Raises:
      InputError: not of the form, an unknown chip, or a torus of other dimensions.
    """
    found = re.fullmatch(r"(\w+):([1-9]\d*(?:x[1-9]\d*)*)|([a-z]+\d+)x([1-9]\d*)", name.lower())
    chip = CHIPS.get((found[1] or found[3]).lower()) if found else None
    shape = tuple(int(n) for n in (found[2] or found[4]).split("x")) if found else ()
    if chip is None or len(shape) != (chip.axes or 1) or bool(found[1]) != bool(chip.axes):
        raise InputError(
            "--topology",
            found=repr(name),
            expected=f"{EXPECTED}; chips: {', '.join(CHIPS)}",
            fix="correct --topology",
        )
    return Topology(name.lower(), chip, shape)


def compile_devices(topology: Topology) -> Sequence[Any]:
    """Descriptions of the devices to compile for.

    Raises:
      InputError: libtpu is not installed, it knows no such slice, or there is no stand-in.
    """
    if topology.compiles:
        return _tpu_devices(topology.chip.name, topology.shape)
    if topology.count not in STAND_IN_SHAPES:
        raise InputError(
            "--topology",
            found=topology.name,
            expected=f"one of {', '.join(map(str, STAND_IN_SHAPES))} GPUs",
            fix="choose one of these numbers",
        )
    return _tpu_devices(STAND_IN, STAND_IN_SHAPES[topology.count])


def _tpu_devices(chip: str, shape: tuple[int, ...]) -> Sequence[Any]:
    name = f"{chip}:{'x'.join(map(str, shape))}"
    hosts = [min(length, chips) for length, chips in zip((*shape, 1)[:3], (2, 2, 1), strict=True)]
    for setting, value in LIBTPU.items():
        os.environ.setdefault(setting, value)
    try:
        import libtpu  # noqa: F401
    except ImportError:
        raise InputError(
            "compiling for TPUs",
            found="no libtpu",
            expected="the package libtpu, which compiles without a TPU",
            fix="pip install -r requirements/plan.txt",
        ) from None
    from jax.experimental import topologies

    try:
        return topologies.get_topology_desc(
            platform="tpu", topology_name=name, chips_per_host_bounds=hosts
        ).devices
    except Exception as error:  # its types differ between versions
        raise InputError(
            "--topology",
            found=f"{name}: {str(error).splitlines()[0]}",
            expected="a slice that libtpu knows",
            fix="choose another shape, e.g. v5e:8x16, v6e:4x4, v5p:2x2x2",
        ) from error
