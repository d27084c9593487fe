"""Names of chips and slices, the links between them, and meshes over them."""

from __future__ import annotations

import pytest

from semanticvla_jax.costs import meshes, topologies
from semanticvla_jax.errors import InputError


@pytest.mark.parametrize(
    "name, chips, interconnect",
    [
        ("v5e:2x4", 8, 2 * 50e9),  # no ring: chips at the ends have one link per axis
        ("v5e:8x16", 128, 3 * 50e9),  # 16 close to a ring
        ("V5E:16x16", 256, 4 * 50e9),
        ("v6e:4x4", 16, 2 * 100e9),
        ("v5p:2x2x4", 16, (1 + 1 + 2) * 100e9),
        ("h200x1", 1, 450e9),
        ("h200x8", 8, 450e9),
        ("h200x16", 16, 50e9),  # two nodes
    ],
)
def test_topologies(name, chips, interconnect):
    topology = topologies.find_topology(name)
    assert (topology.count, topology.interconnect) == (chips, interconnect)


@pytest.mark.parametrize(
    "name", ["v5e", "v5e:8", "v5e:2x0", "h200:2x4", "v5ex8", "v9:2x2", "b300x8"]
)
def test_unknown_topologies_list_the_chips(name):
    with pytest.raises(InputError, match=f"--topology: found '{name}'.*chips: a800, h200, v5e"):
        topologies.find_topology(name)


def test_slices_that_the_compiler_does_not_know_are_refused():
    pytest.importorskip("libtpu", reason="requirements/plan.txt is not installed")
    assert len(topologies.compile_devices(topologies.find_topology("v5e:2x4"))) == 8
    assert len(topologies.compile_devices(topologies.find_topology("h200x1"))) == 1
    with pytest.raises(InputError, match="v5e:3x5"):
        topologies.compile_devices(topologies.find_topology("v5e:3x5"))


def test_meshes_divide_chips_batch_and_heads():
    found = [tuple(mesh.values()) for mesh in meshes.possible(chips=8, batch=4, heads=2)]
    # The batch allows 4 places at most, so tensor is 2: two heads allow no more.
    assert found == [(1, 4, 2), (2, 2, 2), (4, 1, 2)]


@pytest.mark.parametrize(
    "text, sizes", [("data=2,fsdp=4", (2, 4, 1)), ("tensor=8, data=-1", (-1, 1, 8))]
)
def test_meshes_are_read(text, sizes):
    assert tuple(meshes.parse(text).values()) == sizes


@pytest.mark.parametrize("text", ["fsdp:8", "model=8", "fsdp=x", ""])
def test_other_texts_are_no_mesh(text):
    with pytest.raises(InputError, match="--mesh"):
        meshes.parse(text)
