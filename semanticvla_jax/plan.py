"""What a configuration costs before anything of its size is allocated.

    python -m semanticvla_jax.plan --config configs/NAME.py [--config.x=y] [--prompt_tokens 20]
        [--chip h200,v5e] [--json FILE|-]

Tokens, parameters, FLOPs of one inference (counted by tracing the model) and lower bounds of its
time per chip. `python -m semanticvla_jax.costs.table` compares many configurations.

    python -m semanticvla_jax.plan --config configs/NAME.py --topology v5e:8x16[,v6e:4x4,h200x8]
        [--mesh data=32,tensor=4] [--candidates 3] [--full_effort]

Compiles the training step for chips that need not be here and says whether it fits, what it costs
and which mesh is best: docs/plan.md. Needs requirements/plan.txt.

Nothing is downloaded, and no vocabulary, weight or dataset file is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from semanticvla_jax.command_line import given_config, parse
from semanticvla_jax.costs import meshes, printed, training_plan, training_text
from semanticvla_jax.costs.chips import CHIPS, find_chip
from semanticvla_jax.costs.report import report
from semanticvla_jax.costs.topologies import find_topology
from semanticvla_jax.errors import InputError, exit_on_input_error

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file.", lock_config=True)
_PROMPT_TOKENS = flags.DEFINE_integer("prompt_tokens", 20, "Prompt tokens after BOS.")
_CHIPS = flags.DEFINE_list("chip", list(CHIPS), "Chips to bound the time on.")
_LOOP_TRIPS = flags.DEFINE_integer(
    "loop_trips", None, "Passes of loops that end when their data say so; by default their bound."
)
_JSON = flags.DEFINE_string("json", None, "Where to write all numbers; - for standard output.")
_TOPOLOGY = flags.DEFINE_list("topology", [], "Chips to train on, as v5e:8x16, v6e:4x4 or h200x8.")
_MESH = flags.DEFINE_string("mesh", None, "The only mesh to try, as data=2,fsdp=8,tensor=4.")
_CANDIDATES = flags.DEFINE_integer(
    "candidates", 3, "Settings that fit to compile, likeliest first."
)
_FULL_EFFORT = flags.DEFINE_bool(
    "full_effort", False, "Compile with XLA's full effort, as a run does: takes much longer."
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise InputError(
            "command line", found=argv[1:], expected="flags only", fix="see --helpfull"
        )
    name, config = given_config(_CONFIG)
    shown, numbers = training(name, config) if _TOPOLOGY.value else inference(name, config)
    if _JSON.value:
        written = json.dumps({"config": name, **numbers}, indent=2)
        if _JSON.value == "-":
            print(written)
            return
        Path(_JSON.value).write_text(written + "\n")
    print(shown)


def inference(name: str, config: Any) -> tuple[str, Mapping[str, Any]]:
    """(text, numbers) of one inference."""
    costs = report(
        config,
        prompt_tokens=_PROMPT_TOKENS.value,
        chips=[find_chip(chip) for chip in _CHIPS.value],
        trips=_LOOP_TRIPS.value,
    )
    return printed.text(name, costs), costs


def training(name: str, config: Any) -> tuple[str, Mapping[str, Any]]:
    """(text, numbers) of the best plan for each topology; several are also a table."""
    jax.config.update("jax_platforms", "cpu")  # nothing is computed, wherever this runs
    logging.set_verbosity(logging.ERROR)  # dimensions that stay whole, for every mesh
    topologies = [find_topology(topology) for topology in _TOPOLOGY.value]
    mesh = meshes.parse(_MESH.value) if _MESH.value else None
    found = [
        training_plan.find(
            config,
            topology,
            mesh=mesh,
            candidates=_CANDIDATES.value,
            options={} if _FULL_EFFORT.value else None,
        )
        for topology in topologies
    ]
    if len(found) == 1:
        ((best, *others),) = found
        shown = training_text.text(name, best, others)
    else:
        best_ones = [plans[0] for plans in found]
        verdicts = map(training_text.verdict, best_ones)
        shown = "\n".join([training_text.table(best_ones), "", *verdicts])
    return shown, {"plans": [training_text.numbers(plan) for plans in found for plan in plans]}


@exit_on_input_error
def run() -> None:
    app.run(main, flags_parser=parse)


if __name__ == "__main__":
    run()
