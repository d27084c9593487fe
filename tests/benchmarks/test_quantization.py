"""What the table of precisions says of given actions."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quantization import __main__ as command
from benchmarks.quantization.measure import errors
from semanticvla_jax.robots import ALOHA, LIBERO


def test_errors_in_the_controllers_units_and_flipped_grippers():
    expected = np.zeros((2, 8, 7), np.float32)
    expected[..., 6] = 1
    found = expected.copy()
    found[0, 0, 1] = -0.24  # one of 48 numbers of translation
    found[1, :4, 6] = -1  # four of sixteen commands
    summary = errors(found, expected, LIBERO)
    translation = {"mean": pytest.approx(0.24 / 48), "max": pytest.approx(0.24)}
    assert summary["translation"] == translation | {"unit": "1 = 0.05 m"}
    assert summary["rotation"]["max"] == 0
    assert summary["gripper"] == {"mean": 0.25, "max": 1.0, "unit": "share flipped"}


def test_grippers_that_open_by_degrees_are_measured():
    expected = np.zeros((1, 25, 14), np.float32)
    found = expected.copy()
    found[0, 0, 13] = 0.5
    summary = errors(found, expected, ALOHA)["gripper"]
    assert summary == {"mean": pytest.approx(0.5 / 50), "max": 0.5, "unit": "opening, 0 to 1"}


def test_table_and_bad_arguments():
    kind = {"mean": 0.01, "max": 0.2, "unit": "rad"}
    row = {"precision": "", "dtype": "float32", "bytes": 4e6, "seconds": 0.01}
    rows = [row | {"errors": {"rotation": kind}}, row | {"precision": "int8"}]
    rows[1] |= {"errors": {"rotation": kind}}
    lines = command.table(rows).splitlines()
    assert "rotation max (rad)" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["float32", "int8"]
    with pytest.raises(SystemExit):
        command.main(["--checkpoint", "runs/a", "--config", "configs/b.py"])
