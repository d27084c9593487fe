"""The printed table: one line per case and group of quantities."""

from __future__ import annotations

from collections.abc import Iterable

from tests.parity.quantities import Quantity

COLUMNS = "{:<4} {:<32} {:<28} {:>8} {:>9}  {}"
HEADER = COLUMNS.format("", "case", "quantities", "error", "tolerance", "the worst")


def groups(quantities: Iterable[Quantity]) -> list[list[Quantity]]:
    """Quantities by group, in order of appearance."""
    found: dict[str, list[Quantity]] = {}
    for quantity in quantities:
        found.setdefault(quantity.group, []).append(quantity)
    return list(found.values())


def worst(group: Iterable[Quantity]) -> Quantity:
    return max(group, key=lambda quantity: quantity.severity)


def line(case: str, group: list[Quantity]) -> str:
    """The worst quantity of a group, and whether all of it passed."""
    shown = worst(group)
    verdict = "PASS" if all(quantity.passed for quantity in group) else "FAIL"
    what = f"{shown.group} ({len(group)})"
    name = f"{shown.name}  {shown.reason}".strip()
    numbers = f"{shown.error:.1e}", f"{shown.tolerance:.1e}"
    return COLUMNS.format(verdict, case, what, *numbers, name)
