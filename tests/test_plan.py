"""The command `plan`: what it prints, what it writes, and what it says about mistakes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from configs import libero_tiny
from semanticvla_jax.costs.chips import find_chip
from semanticvla_jax.costs.printed import Unit, aligned
from semanticvla_jax.costs.report import report
from semanticvla_jax.errors import InputError


def plan(repository, *flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "semanticvla_jax.plan", *flags]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True)


def test_tables_and_numbers_agree(repository, tmp_path):
    path = tmp_path / "plan.json"
    done = plan(
        repository,
        "--config=configs/libero_tiny.py",
        "--config.model.llm.depth=3",
        "--prompt_tokens=9",
        "--chip=h200,v5e",
        f"--json={path}",
    )
    assert done.returncode == 0, done.stderr
    numbers, lines = json.loads(path.read_text()), done.stdout.splitlines()
    assert numbers["tokens"]["sequence"] == 1 + 24 + 1 + 9 + 24 + 1
    assert list(numbers["roofline"]) == ["h200", "v5e"]
    (llm,) = (line.split() for line in lines if line.startswith("LLM "))
    count = numbers["parameters"]["components"]["LLM"]["count"]
    assert count == 512 * 128 + 3 * (4 * 128**2 + 3 * 128 * 256 + 2 * 128) + 128
    assert llm[1] == f"{count / 1e6:.4f}"
    assert lines[-1].startswith("configs/libero_tiny.py: 60 positions; parameters ")


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            ["--config=configs/nothing.py"],
            "found configs/nothing.py, expected a configuration file",
        ),
        (["--config=configs/libero_tiny.py", "--config.modle=3"], "modle"),
        (["--config=configs/libero_tiny.py", "--topology=v9:2x2"], "chips: a800, h200, v5e"),
        (["--config=configs/libero_tiny.py", "--topology=v5e:2x4", "--mesh=x=2"], "--mesh"),
    ],
)
def test_mistakes_are_one_clear_message(repository, flags, message):
    done = plan(repository, *flags)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2 and len(errors) == 1, done.stderr
    assert message in errors[0] and "Fix:" in errors[0] and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "entry, value, message", [("robot", "spot", "'spot'"), ("model", None, "entry `model`")]
)
def test_unusable_configurations_are_refused(entry, value, message):
    config = libero_tiny.get_config()
    if value is None:
        del config[entry]
    else:
        config[entry] = value
    with pytest.raises(InputError, match=message):
        report(config, prompt_tokens=20, chips=[])


def test_chips_are_found_in_either_case():
    assert find_chip("H200").memory == 141e9
    with pytest.raises(InputError, match="'h20', expected one of a800, h200"):
        find_chip("h20")


def test_columns_are_aligned():
    assert aligned([["a", "12"], ["bcd", "3"]]) == "a    12\nbcd   3"


@pytest.mark.parametrize(
    "largest, name, shown",
    [(2.58e12, "TFLOP", "2.5800"), (7.1e7, "MFLOP", "71.000"), (3, "FLOP", "3.0000")],
)
def test_units_suit_the_largest_value(largest, name, shown):
    unit = Unit("FLOP", largest, prefixes=("T", "G", "M", "k", ""))
    assert (unit.name, unit(largest)) == (name, shown)
