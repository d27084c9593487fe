"""Bytes that a compiled program sends, on a text small enough to add up by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from semanticvla_jax.costs import collectives, hlo
from semanticvla_jax.costs.collectives import Traffic

# One pass gathers bf16[8,4] (64 B) among 4, and reduces f32[4] (16 B) among 2; the inner loop of 3
# passes permutes f32[4]; the outer one of 5 passes says so, the inner one's counter shows it.
LOOPS = (Path(__file__).parent / "loops.hlo").read_text()


def test_loops_repeat_what_they_hold_and_a_channel_counts_once():
    assert collectives.traffic(hlo.parse(LOOPS), devices=8) == {
        "all-gather": Traffic(5 + 1, 5 * 64 * 3 / 4 + 64 * 7 / 8),
        "reduce-scatter": Traffic(1, 32 * 3 / 4),
        "all-reduce": Traffic(5, 5 * 2 * 16 * 1 / 2),
        "collective-permute": Traffic(5 * 3, 5 * 3 * 16),
    }


@pytest.mark.parametrize(
    "attributes, size",
    [
        ("replica_groups={{0,2,4},{1,3,5}}", 3),
        ("replica_groups=[2,4]<=[4,2]T(1,0)", 4),
        ("replica_groups=mesh['a'=2,'b'=4,'c'=3] {'a','c'}", 6),
        ("replica_groups={}", 8),
    ],
)
def test_group_sizes(attributes, size):
    assert collectives.group_size(attributes, devices=8) == size


def test_reduce_scatter_counts_what_goes_in():
    text = LOOPS.replace("all-gather(%w)", "reduce-scatter(%w)")
    # Its output of 64 B is a quarter of what goes in: 256 B * 3/4.
    traffic = collectives.traffic(hlo.parse(text), devices=8)
    assert traffic["reduce-scatter"] == Traffic(5 + 1, 5 * 256 * 3 / 4 + 32 * 3 / 4)


@pytest.mark.parametrize(
    "shape, size",
    [("bf16[2,3]", 12), ("pred[5]", 5), ("f8e4m3fn[4]", 4), ("s4[3]", 2), ("f32[]", 4)],
)
def test_sizes_of_types(shape, size):
    line = f"ENTRY %m (x: {shape}) -> {shape} {{\n  ROOT %x = {shape} parameter(0)\n}}"
    assert hlo.parse(line).computations["m"]["x"].size == size
