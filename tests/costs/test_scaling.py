"""The table of scaling: efficiency relative to the first topology that fits."""

from __future__ import annotations

from semanticvla_jax.costs import scaling
from tests.costs.test_training_plan import plan


def test_efficiency_is_per_chip_and_relative_to_the_first_that_fits():
    too_large, small, large = plan(temporaries=10**11), plan(), plan("v5e:4x8")
    # The same second per step and the same 32 samples on four times the chips.
    lines = scaling.table([too_large, small, large]).splitlines()
    assert [line.split()[-2:] for line in lines[1:]] == [["0", "-"], ["100", "%"], ["25", "%"]]
