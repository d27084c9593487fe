"""Plans of training as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from semanticvla_jax.costs.printed import aligned
from semanticvla_jax.costs.training_plan import Plan

GB = 1e9


def text(name: str, plan: Plan, others: Sequence[Plan] = ()) -> str:
    """All of a plan; its last line starts with FITS or DOES NOT FIT.

    Args:
      name: of the configuration.
      others: plans that were compiled too, and are worse.
    """
    parts = [_title(name, plan), plan.estimate(), _memory(plan)]
    if not plan.compiled.refused:
        parts += [_traffic(plan), _roofline(plan), _run(plan)]
    parts += [_tried(plan, others), verdict(plan)]
    return "\n\n".join(filter(None, parts))


def verdict(plan: Plan) -> str:
    """FITS or DOES NOT FIT, where, how much it needs, and what to change."""
    chip = plan.topology.chip
    about = "about " if plan.estimate() else ""
    where = f"{plan.topology.name} with {plan.setting}"
    if plan.compiled.refused:
        return f"DOES NOT FIT {where}: XLA says: {plan.compiled.refused} {plan.advice()}"
    need = f"{about}{plan.needed / GB:.2f} of {chip.memory / GB:.0f} GB per chip"
    if not plan.fits:
        return f"DOES NOT FIT {where}: needs {need}; {plan.advice()}"
    run, roofline = plan.run, plan.roofline
    return (
        f"FITS {where}: {need}; {plan.steps:,} steps take at least {run.days:.2f} days "
        f"({run.chip_hours:,.0f} chip-hours), bound by {roofline.binds}"
    )


HEAD = ("topology", "chips", "batch", "mesh", "GB/chip", "of", "compute", "HBM", "links", "step ms")
HEAD += ("binds", "samples/s", "days", "chip-hours", "compile s")


def row(plan: Plan) -> list[str]:
    """A plan's cells under HEAD: times in ms, one step at the roofline."""
    known = not plan.compiled.refused
    roofline = plan.roofline
    times = [f"{1e3 * seconds:.1f}" for seconds in (*roofline.terms.values(), roofline.seconds)]
    figures = [
        *times,
        roofline.binds,
        f"{plan.run.samples_per_second:,.0f}",
        f"{plan.run.days:.2f}",
        f"{plan.run.chip_hours:,.0f}",
    ]
    return [
        plan.topology.name + ("" if plan.topology.compiles else " (estimate)"),
        str(plan.topology.count),
        str(plan.batch),
        plan.setting,
        f"{plan.needed / GB:.2f}" if known else "refused",
        f"{plan.topology.chip.memory / GB:.0f}",
        *(figures if known else ["-"] * len(figures)),
        f"{plan.compiled.compile_seconds:.0f}",
    ]


def table(plans: Sequence[Plan]) -> str:
    """One row per plan."""
    return aligned([HEAD, *(row(plan) for plan in plans)])


def numbers(plan: Plan) -> dict[str, Any]:
    """A plan as JSON values."""
    return {
        **dataclasses.asdict(plan),
        "fits": plan.fits,
        "needed": plan.needed,
        "roofline": dataclasses.asdict(plan.roofline),
        "run": None if plan.compiled.refused else dataclasses.asdict(plan.run),
        "estimate": plan.estimate(),
        "advice": plan.advice(),
    }


def _title(name: str, plan: Plan) -> str:
    parts = f" in {plan.accumulate_steps} parts" if plan.accumulate_steps > 1 else ""
    return (
        f"{name}: training on {plan.topology.name}, {plan.topology.count} chips, "
        f"mesh {plan.setting}\n"
        f"{plan.parameters / 1e6:,.1f} M parameters, {plan.trained / 1e6:,.1f} M trained; "
        f"{plan.batch} samples per step{parts}, {plan.at_once} at a time on each of "
        f"{plan.mesh['data'] * plan.mesh['fsdp']} groups of {plan.mesh['tensor']} chips"
    )


def _memory(plan: Plan) -> str:
    memory = plan.compiled.memory
    rows = [
        ("parameters, frozen", memory.frozen),
        ("parameters, trained", memory.trained),
        ("optimizer", memory.optimizer),
        ("averages", memory.average),
        ("batch", memory.batch),
    ]
    if not plan.compiled.refused:
        rows += [
            ("padding of these", max(0, memory.arguments - memory.stored)),
            ("activations, temporaries", memory.temporaries),
            ("outputs that replace nothing", memory.outputs - memory.aliased),
            ("program", memory.code),
            ("total", memory.total),
        ]
    rows = [(name, f"{size / GB:.3f}") for name, size in rows]
    rows.append(("a chip has", f"{plan.topology.chip.memory / GB:.3f}"))
    return aligned([("memory", "GB per chip"), *rows])


def _traffic(plan: Plan) -> str:
    rows = [
        (kind, f"{one.operations:,}", f"{one.bytes / GB:.3f}")
        for kind, one in plan.compiled.traffic.items()
    ]
    if not rows:
        return "collectives: none"
    return aligned([("collectives", "per step", "GB received per chip"), *rows])


def _roofline(plan: Plan) -> str:
    step, roofline = plan.compiled, plan.roofline
    per_chip = {
        "compute": f"{step.flops / 1e12:.2f} TFLOP",
        "HBM": f"{step.memory_bytes / GB:.1f} GB",
        "interconnect": f"{step.traffic_bytes / GB:.1f} GB",
    }
    rates = {
        "compute": f"{plan.topology.chip.peak / 1e12:.0f} TFLOP/s",
        "HBM": f"{plan.topology.chip.bandwidth / GB:.0f} GB/s",
        "interconnect": f"{plan.topology.interconnect / GB:.0f} GB/s",
    }
    rows = [
        (term, per_chip[term], rates[term], f"{1e3 * seconds:.1f}")
        for term, seconds in roofline.terms.items()
    ]
    return (
        aligned([("one step", "per chip", "at", "ms"), *rows])
        + f"\nat least {1e3 * roofline.seconds:.1f} ms, bound by {roofline.binds}; "
        f"{1e3 * roofline.without_overlap:.1f} ms if nothing overlapped"
    )


def _run(plan: Plan) -> str:
    run = plan.run
    return (
        f"at most {run.samples_per_second:,.0f} samples/s; {plan.steps:,} steps take at least "
        f"{run.days:.2f} days, {run.chip_hours:,.0f} chip-hours\n"
        f"compiled in {plan.compiled.compile_seconds:.0f} s"
    )


def _tried(plan: Plan, others: Sequence[Plan]) -> str:
    if not others:
        return ""
    return "compiled, best first:\n" + table([plan, *others])
