"""A finding: one thing that was looked at, and the verdict on it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from semanticvla_jax.errors import InputError


class Verdict(enum.Enum):
    OK = "OK"
    WARNING = "WARNING"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Finding:
    """`expected` and `fix` are empty where all is well."""

    verdict: Verdict
    subject: str
    found: str
    expected: str = ""
    fix: str = ""

    def __str__(self) -> str:
        lines = [f"{self.verdict.value:<8} {self.subject}: {self.found}"]
        if self.expected:
            lines.append(f"{'':9}expected: {self.expected}")
        if self.fix:
            lines.append(f"{'':9}fix: {self.fix}")
        return "\n".join(lines)


def ok(subject: str, found: str) -> Finding:
    return Finding(Verdict.OK, subject, found)


def warning(subject: str, found: str, *, expected: str, fix: str) -> Finding:
    return Finding(Verdict.WARNING, subject, found, expected, fix)


def error(subject: str, found: str, *, expected: str, fix: str) -> Finding:
    return Finding(Verdict.ERROR, subject, found, expected, fix)


def of_problem(problem: InputError) -> Finding:
    """A part of the dataset that could not be read."""
    return error(problem.what, str(problem.found), expected=str(problem.expected), fix=problem.fix)


def several(names: list[str], most: int = 4) -> str:
    """'a, b, c and 7 more'."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
