"""The printed account of an import: what was used, ignored and left fresh."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from flax.traverse_util import flatten_dict

from semanticvla_jax.costs.components import PARAMETERS, component
from semanticvla_jax.weights.importing import Opened, size_changes, told
from semanticvla_jax.weights.rules import Report, Target


def text(opened: Opened, targets: Sequence[Target], report: Report, shapes: Mapping) -> str:
    """The account of a planned import, several lines."""
    sizes = {name: math.prod(leaf.shape) for name, leaf in flatten_dict(shapes, sep="/").items()}
    given = {name: math.prod(array.shape) for name, array in opened.arrays.items()}
    used = sum(len(names) for names in report.used.values())
    reasons = ((reason, given[name]) for name, reason in report.ignored.items())
    fresh = ((component(name, PARAMETERS), sizes[name]) for name in report.fresh)
    filled = ((component(name, PARAMETERS), sizes[name]) for name in report.used)
    return "\n".join(
        [
            f"used: {used} arrays of {len(opened.arrays)}",
            *_table(filled),
            f"ignored: {len(report.ignored)} arrays",
            *_table(reasons),
            f"fresh: {len(report.fresh)} parameters that training initialises",
            *_table(fresh),
            *(
                f"note: {name} made {list(ours)} from {list(theirs)}"
                for name, (theirs, ours) in size_changes(targets, opened).items()
            ),
            *(f"note: {sentence}" for sentence in told(opened.differences)),
        ]
    )


def _table(entries: Iterable[tuple[str, int]]) -> list[str]:
    """Lines of (what, arrays, scalars in millions), summed by what."""
    counts: dict[str, list[int]] = {}
    for what, size in entries:
        counts.setdefault(what, []).append(size)
    width = max(map(len, counts), default=0)
    return [
        f"  {what:<{width}} {len(sizes):6d} arrays {sum(sizes) / 1e6:12.3f} M"
        for what, sizes in sorted(counts.items())
    ]
