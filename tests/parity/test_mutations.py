"""The parity check notices wrong rules; a trap that is none is reported as missed."""

from __future__ import annotations

import contextlib

import pytest

from tests.parity import mutations
from tests.parity.traps import TRAPS, Trap

QUICK = (
    "text tower with exact GELU",
    "decoder's norm epsilon 1e-5",
    "pads and end token not hidden",
    "gripper sign not negated",
)
BY_RULE = {trap.rule: trap for trap in TRAPS}


@pytest.mark.parametrize("rule", QUICK)
def test_some_traps_are_caught(shared_dir, rule):
    finding = mutations.try_trap(shared_dir / "goldens", BY_RULE[rule])
    assert finding.caught


def test_what_changes_nothing_is_missed(shared_dir):
    harmless = Trap("nothing", "nothing", "h_", contextlib.nullcontext)
    assert not mutations.try_trap(shared_dir / "goldens", harmless).caught
    absent = Trap("nothing", "nothing", "no_such_case", contextlib.nullcontext)
    assert mutations.try_trap(shared_dir / "goldens", absent) is None


@pytest.mark.slow
@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.rule)
def test_every_trap_is_caught(shared_dir, trap):
    finding = mutations.try_trap(shared_dir / "goldens", trap)
    assert finding.caught
    if finding.reference is not None:
        # A wrong rule moves the actions as far as it moves the reference's.
        assert finding.actions == pytest.approx(finding.reference, rel=0.02)
