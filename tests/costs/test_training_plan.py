"""Verdict, roofline and search of training plans."""

from __future__ import annotations

import dataclasses

import jax
import pytest

from semanticvla_jax.costs import training_plan, training_text
from semanticvla_jax.costs.collectives import Traffic
from semanticvla_jax.costs.topologies import find_topology
from semanticvla_jax.costs.training_plan import Plan
from semanticvla_jax.costs.training_roofline import Roofline, Run
from semanticvla_jax.costs.training_step import CompiledStep, Flops, Memory
from tests.smallest import smallest_config


def plan(topology: str = "v5e:2x4", refused: str = "", **memory) -> Plan:
    figures = dict(
        frozen=3e9, trained=1e9, optimizer=2e9, average=0, batch=0, arguments=6_500_000_000
    )
    compiled = CompiledStep(
        flops=197e12,
        memory=Memory(**{**figures, **memory}),
        memory_bytes=164 * 10**9,
        traffic={"all-gather": Traffic(10, 40e9), "all-reduce": Traffic(1, 10e9)},
        refused=refused,
    )
    mesh = {"data": 1, "fsdp": 4, "tensor": 2}
    return Plan(find_topology(topology), mesh, 32, 2, 10**9, 10**6, 1728, compiled)


def test_roofline_by_hand():
    roofline = Roofline.of(plan().compiled, find_topology("v5e:2x4"))
    assert roofline.compute == pytest.approx(1.0)  # 197 TFLOP per chip at 197 TFLOP/s
    assert roofline.memory == pytest.approx(0.2)  # 164 GB at 820 GB/s
    assert roofline.interconnect == pytest.approx(0.5)  # 50 GB over two links of 50 GB/s
    assert (roofline.seconds, roofline.binds) == (pytest.approx(1.0), "compute")
    assert roofline.without_overlap == pytest.approx(1.7)


def test_the_tensor_axis_repeats_what_it_does_not_split():
    mesh = jax.sharding.AbstractMesh((2, 1, 4), ("data", "fsdp", "tensor"))
    assert Flops(split=80, whole=20).per_chip(mesh) == 80 / 8 + 20 / 2


def test_run_by_hand():
    run = Run.of(0.5, batch=128, steps=172_800, chips=4)
    assert (run.samples_per_second, run.days, run.chip_hours) == (256, 1.0, 96)


def test_what_fits_says_so_with_days():
    fitting = plan(temporaries=9_000_000_000, outputs=4_000_000_000, aliased=3_900_000_000)
    assert fitting.fits and fitting.needed == 15_600_000_000
    assert training_text.verdict(fitting) == (
        "FITS v5e:2x4 with fsdp=4 tensor=2, accumulate_steps=2: 15.60 of 16 GB per chip; "
        "1,728 steps take at least 0.02 days (4 chip-hours), bound by compute"
    )


def test_too_large_activations_ask_for_fewer_samples_at_a_time():
    said = training_text.verdict(plan(temporaries=10_000_000_000))
    assert said.startswith("DOES NOT FIT v5e:2x4") and "16.50 of 16 GB" in said
    assert "accumulate_steps=4, fewer samples per chip (now 4 at a time)" in said


def test_too_large_parameters_ask_for_more_fsdp_or_chips():
    said = training_text.verdict(plan(frozen=15e9, refused="Ran out of memory."))
    assert said.startswith("DOES NOT FIT") and "XLA says: Ran out of memory." in said
    assert said.endswith("change one of: more fsdp (now 4), more chips")


def test_gpus_are_said_to_be_estimated():
    assert "estimate" in training_text.text("c.py", plan("h200x8"))
    assert "about 6.50 of 141 GB" in training_text.verdict(plan("h200x8"))
    assert "estimate" not in training_text.text("c.py", plan())


def test_fastest_that_fits_comes_first():
    slow = dataclasses.replace(plan(), topology=find_topology("v6e:2x4"))
    plans = [plan(temporaries=10**10), plan(refused="no"), plan(), slow]
    ordered = sorted(plans, key=training_plan._preference)
    assert [p.fits for p in ordered] == [True, True, False, False]
    assert ordered[0] is slow  # v6e's peak is higher


def test_step_compiles_for_a_slice_that_is_not_here(tmp_path):
    pytest.importorskip("libtpu", reason="requirements/plan.txt is not installed")
    config = smallest_config(tmp_path)
    config.batch_size = 8
    mesh = {"data": 2, "fsdp": 2, "tensor": 2}
    (found,) = training_plan.find(config, find_topology("v5e:2x4"), mesh=mesh)
    memory = found.compiled.memory
    assert found.fits and memory.arguments >= memory.stored > 0 and memory.temporaries > 0
    # Every gradient is summed over 4 places, and parameters are gathered over fsdp.
    assert {"all-gather", "all-reduce"} <= set(found.compiled.traffic)
    assert training_text.text("smallest", found).splitlines()[-1].startswith("FITS v5e:2x4 with")
