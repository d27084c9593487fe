"""Compares configurations: tokens, parameters and FLOPs of one inference, one row each.

    python -m semanticvla_jax.costs.table [--prompt_tokens 20] [CONFIG ...]

A CONFIG is a file, with an argument behind a colon where it takes one:
`configs/semanticvla_libero.py:lite`. Without any, every variant, and ALOHA. Loops that end when
their data say so count with their bound, marked "<=".
"""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from tqdm import tqdm

from semanticvla_jax.costs.printed import aligned
from semanticvla_jax.costs.published import ALOHA, LIBERO, PUBLISHED, Published
from semanticvla_jax.costs.report import report
from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.models.variants import VARIANTS

_PROMPT_TOKENS = flags.DEFINE_integer("prompt_tokens", 20, "Prompt tokens after BOS.")

HEAD = (
    "TFLOP per inference",
    "tokens/image",
    "positions",
    "parameters M",
    "trainable M",
    "ours",
    "full",
    "paper-like",
    "full, spec",
    "paper-like, spec",
    "paper",
)


def every_variant() -> list[str]:
    """The configurations of all variants; OpenVLA also as it was trained, one action at a time."""
    single_step = ("openvla,libero_single_step", "openvla,libero_one_camera")
    return [*(f"{LIBERO}:{name}" for name in (*VARIANTS, *single_step)), ALOHA]


def load_config(name: str) -> Any:
    """The configuration of a file, `path` or `path:argument`.

    Raises:
      InputError: no such file.
    """
    path, _, argument = name.partition(":")
    if not Path(path).is_file():
        raise InputError(
            f"configuration {name}",
            found="no such file",
            expected="path, or path:argument, of a configuration file",
            fix="correct the path; it is relative to the current directory",
        )
    get_config = runpy.run_path(path)["get_config"]
    return get_config(argument) if argument else get_config()


def row(name: str, prompt_tokens: int) -> list[str]:
    """The table's cells of a configuration."""
    costs = report(load_config(name), prompt_tokens=prompt_tokens, chips=())
    size, flops = costs["parameters"], costs["flops"]
    counted = [flops[convention]["total"] / 1e12 for convention in ("ours", "full", "paper_like")]
    at_most = "<=" if costs["loops"] else ""
    stated = PUBLISHED.get(name, Published())
    return [
        name,
        str(costs["tokens"]["per_image"]),
        str(costs["tokens"]["sequence"]),
        f"{size['total'] / 1e6:.1f}",
        f"{size['trainable'] / 1e6:.1f}",
        *(f"{at_most}{value:.3f}" for value in counted),
        *("-" if value is None else f"{value:.2f}" for value in stated),
    ]


def table(names: Sequence[str], prompt_tokens: int) -> str:
    """Aligned rows of all configurations."""
    return aligned([HEAD, *(row(name, prompt_tokens) for name in tqdm(names, unit="model"))])


def main(argv: list[str]) -> None:
    print(table(argv[1:] or every_variant(), _PROMPT_TOKENS.value))


if __name__ == "__main__":
    exit_on_input_error(app.run)(main)
