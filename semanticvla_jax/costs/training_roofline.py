"""Lower bounds of a training step's time, and what a run of such steps takes."""

from __future__ import annotations

from dataclasses import dataclass

from semanticvla_jax.costs.topologies import Topology
from semanticvla_jax.costs.training_step import CompiledStep

DAY = 24 * 3600.0


@dataclass(frozen=True)
class Roofline:
    """Seconds of one step if only this counted; the step takes at least the longest.

    Attributes:
      compute: FLOPs at the chip's bf16 peak.
      memory: bytes read and written at the bandwidth of the chip's memory.
      interconnect: bytes received over all links of the chip with the fewest.
    """

    compute: float
    memory: float
    interconnect: float

    @classmethod
    def of(cls, step: CompiledStep, topology: Topology) -> Roofline:
        chip = topology.chip
        return cls(
            compute=step.flops / chip.peak,
            memory=step.memory_bytes / chip.bandwidth,
            interconnect=step.traffic_bytes / topology.interconnect if step.traffic_bytes else 0.0,
        )

    @property
    def terms(self) -> dict[str, float]:
        return {"compute": self.compute, "HBM": self.memory, "interconnect": self.interconnect}

    @property
    def seconds(self) -> float:
        """All three overlap perfectly."""
        return max(self.terms.values())

    @property
    def binds(self) -> str:
        """The longest term's name."""
        return max(self.terms, key=self.terms.__getitem__)

    @property
    def without_overlap(self) -> float:
        """Nothing overlaps: as slow as these three alone can make it."""
        return sum(self.terms.values())


@dataclass(frozen=True)
class Run:
    """A whole run at the roofline.

    Attributes:
      samples_per_second: of all chips together.
      chip_hours: days x 24 x chips.
    """

    samples_per_second: float
    days: float
    chip_hours: float

    @classmethod
    def of(cls, step_seconds: float, *, batch: int, steps: int, chips: int) -> Run:
        total = step_seconds * steps
        return cls(batch / step_seconds, total / DAY, total / 3600 * chips)
