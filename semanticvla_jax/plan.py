"""What a configuration costs before anything of its size is allocated.

    python -m semanticvla_jax.plan --config configs/NAME.py [--config.x=y] [--prompt_tokens 20]
        [--chip h200,v5e] [--json FILE|-]

Tokens, parameters, FLOPs of one inference (counted by tracing the model) and lower bounds of its
time per chip. Nothing is downloaded, and no vocabulary or weight file is needed.
`python -m semanticvla_jax.costs.table` compares many configurations.
"""

from __future__ import annotations

import json
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from semanticvla_jax.command_line import given_config, parse
from semanticvla_jax.costs.chips import CHIPS, find_chip
from semanticvla_jax.costs.printed import text
from semanticvla_jax.costs.report import report
from semanticvla_jax.errors import InputError, exit_on_input_error

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file.", lock_config=True)
_PROMPT_TOKENS = flags.DEFINE_integer("prompt_tokens", 20, "Prompt tokens after BOS.")
_CHIPS = flags.DEFINE_list("chip", list(CHIPS), "Chips to bound the time on.")
_LOOP_TRIPS = flags.DEFINE_integer(
    "loop_trips", None, "Passes of loops that end when their data say so; by default their bound."
)
_JSON = flags.DEFINE_string("json", None, "Where to write all numbers; - for standard output.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise InputError(
            "command line", found=argv[1:], expected="flags only", fix="see --helpfull"
        )
    name, config = given_config(_CONFIG)
    costs = report(
        config,
        prompt_tokens=_PROMPT_TOKENS.value,
        chips=[find_chip(chip) for chip in _CHIPS.value],
        trips=_LOOP_TRIPS.value,
    )
    if _JSON.value:
        numbers = json.dumps({"config": name, **costs}, indent=2)
        if _JSON.value == "-":
            print(numbers)
            return
        Path(_JSON.value).write_text(numbers + "\n")
    print(text(name, costs))


@exit_on_input_error
def run() -> None:
    app.run(main, flags_parser=parse)


if __name__ == "__main__":
    run()
