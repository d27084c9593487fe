"""Reports as aligned tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PREFIXES = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "u": 1e-6}


class Unit:
    """Prefix and digits that suit a column's largest value, say 'ms' with two digits.

    Attributes:
      name: prefix and unit, for the column's head.
    """

    def __init__(self, unit: str, largest: float, digits: int = 5, prefixes: str = "TGMk"):
        fitting = [p for p in prefixes if largest >= PREFIXES[p]] or [prefixes[-1]]
        self.name, self._factor = f"{fitting[0]}{unit}", PREFIXES[fitting[0]]
        self._decimals = max(0, digits - len(str(int(largest / self._factor))))

    def __call__(self, value: float) -> str:
        return f"{value / self._factor:.{self._decimals}f}"


def text(name: str, report: Mapping[str, Any]) -> str:
    """The report of the configuration `name`; the last line sums it up."""
    sections = (_components, _loops, _added, _unowned, _roofline)
    parts = [_title(name, report), *(s(report) for s in sections), summary(name, report)]
    return "\n\n".join(filter(None, parts))


def summary(name: str, report: Mapping[str, Any]) -> str:
    """One line."""
    size, flops = report["parameters"], report["flops"]
    unit, millions = _flop_unit(report), Unit("", size["total"], prefixes="Mk")
    slowest = max(chip["seconds"] for chip in report["roofline"].values())
    time = Unit("s", slowest, digits=4, prefixes="mu")
    bounds = ", ".join(f"{time(r['seconds'])} on {c}" for c, r in report["roofline"].items())
    return (
        f"{name}: {report['tokens']['sequence']} positions; parameters {millions(size['total'])} "
        f"{millions.name}, trainable {millions(size['trainable'])} {millions.name}; {unit.name} "
        f"{unit(flops['ours']['total'])}, full {unit(flops['full']['total'])}; "
        f"at least {time.name}: {bounds}"
    )


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Columns of equal width, the first one left-aligned, the others right-aligned."""
    rows = list(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _title(name: str, report: Mapping[str, Any]) -> str:
    t = report["tokens"]
    return (
        f"{name}: one inference for the robot '{report['robot']}', batch 1, adapters merged\n"
        f"tokens: {t['per_image']} per image ({t['cues']} cues + {t['anchors']} anchors), "
        f"{t['images']} of images, {t['prompt']} of the prompt, {t['actions']} of actions; "
        f"{t['sequence']} positions in all"
    )


def _components(report: Mapping[str, Any]) -> str:
    sizes, flops = report["parameters"]["components"], report["flops"]
    flop, scalars = _flop_unit(report), Unit("", report["parameters"]["total"], prefixes="Mk")
    stored = Unit("B", report["parameters"]["stored_bytes"])
    rows = [
        ["", f"parameters {scalars.name}", f"trainable {scalars.name}", f"stored {stored.name}"]
        + [f"{flop.name} ours", "attention", "full", "lean", "paper-like"]
    ]
    for name in dict.fromkeys([*flops["full"]["components"], *sizes]):
        size = sizes.get(name, dict.fromkeys(("count", "trainable", "stored_bytes"), 0))
        cells = [_work(flops[c]["components"].get(name), flop) for c in flops]
        attention = _work(flops["ours"]["components"].get(name), flop, ("attention",))
        cells.insert(1, attention)
        rows.append([name, *_size(size, scalars, stored), *cells])
    totals = {key: sum(s[key] for s in sizes.values()) for key in next(iter(sizes.values()))}
    attention = sum(work["attention"] for work in flops["ours"]["components"].values())
    cells = [flop(count["total"]) for count in flops.values()]
    cells.insert(1, flop(attention))
    return aligned([*rows, ["total", *_size(totals, scalars, stored), *cells]])


def _size(size: Mapping[str, int], scalars: Unit, stored: Unit) -> list[str]:
    return [scalars(size["count"]), scalars(size["trainable"]), stored(size["stored_bytes"])]


def _work(
    work: Mapping[str, int] | None, unit: Unit, kinds: Sequence[str] = ("linear", "attention")
) -> str:
    """A dash where a component does not run."""
    return unit(sum(work[kind] for kind in kinds)) if work else "-"


def _loops(report: Mapping[str, Any]) -> str:
    return "\n".join(
        f"the loop in '{loop['module']}' ends when its data say so; counted with {loop['passes']} "
        "passes (--loop_trips)"
        for loop in report["loops"]
    )


def _added(report: Mapping[str, Any]) -> str:
    unit = _flop_unit(report)
    rows = [[f"  {a['what']}", f"{unit(a['flops'])} {unit.name}"] for a in report["flops_added"]]
    return "the released code (full) also runs:\n" + aligned(rows) if rows else ""


def _unowned(report: Mapping[str, Any]) -> str:
    size = report["parameters"]
    rows = [[f"  {u['what']}", f"{u['count'] / 1e6:.3f} M"] for u in size["unowned"]]
    if not rows:
        return ""
    whole = {key: f"{count / 1e6:.1f} M" for key, count in size["with_unowned"].items()}
    return (
        f"the released checkpoints also hold, never used:\n{aligned(rows)}\n"
        f"  with these: {whole['total']} parameters, {whole['adapters']} of adapters, "
        f"{whole['trainable']} trainable"
    )


def _roofline(report: Mapping[str, Any]) -> str:
    """Rows are stages, columns chips; each time with what binds it."""
    chips, flop = report["roofline"], _flop_unit(report)
    stages = [chip["stages"] for chip in chips.values()]
    weights = Unit("B", sum(stage["weight_bytes"] for stage in stages[0]))
    time = Unit("s", max(c["seconds"] for c in chips.values()), digits=4, prefixes="mu")
    rows = [[f"at least, {time.name}", flop.name, f"reads {weights.name}"]]
    rows[0] += [f"{chip}        " for chip in chips]
    for same in zip(*stages, strict=True):
        times = [max(stage["compute_seconds"], stage["memory_seconds"]) for stage in same]
        cells = [f"{time(t)} {stage['bound']:<7}" for t, stage in zip(times, same, strict=True)]
        first = same[0]
        rows.append([first["name"], flop(first["flops"]), weights(first["weight_bytes"]), *cells])
    sums = [sum(stage[key] for stage in stages[0]) for key in ("flops", "weight_bytes")]
    fits = [f"{'' if chip['fits'] else 'too big':<7}" for chip in chips.values()]
    totals = [f"{time(c['seconds'])} {fit}" for c, fit in zip(chips.values(), fits, strict=True)]
    rows.append(["total", flop(sums[0]), weights(sums[1]), *totals])
    return aligned(rows)


def _flop_unit(report: Mapping[str, Any]) -> Unit:
    return Unit("FLOP", report["flops"]["full"]["total"])
