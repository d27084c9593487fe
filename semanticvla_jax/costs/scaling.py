"""How training scales with the number of chips, by compiling its step for each.

    python -m semanticvla_jax.costs.scaling CONFIG [--topologies v5e:2x4,v5e:4x4,...]
        [--samples_per_chip 1] [--candidates 2]

Twice: with a constant number of samples per chip (weak scaling), and with the configuration's own
batch (strong scaling), where the chips divide it. Efficiency is the samples per second and chip at
the roofline, relative to the first topology of each kind.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import jax
from absl import app, flags, logging
from tqdm import tqdm

from semanticvla_jax.costs import training_plan, training_text
from semanticvla_jax.costs.printed import aligned
from semanticvla_jax.costs.table import load_config
from semanticvla_jax.costs.topologies import find_topology
from semanticvla_jax.costs.training_plan import Plan
from semanticvla_jax.errors import InputError, exit_on_input_error

_TOPOLOGIES = flags.DEFINE_list(
    "topologies",
    ["v5e:2x4", "v5e:4x4", "v5e:4x8", "v5e:8x8", "v5e:8x16", "v5e:16x16"],
    "From few chips to many.",
)
_SAMPLES = flags.DEFINE_integer("samples_per_chip", 1, "Of weak scaling.")
_CANDIDATES = flags.DEFINE_integer("candidates", 2, "Settings to compile for each.")


def plans(config, names: Sequence[str], batch_of, candidates: int) -> list[Plan]:
    """The best plan for each topology.

    Args:
      batch_of: topology -> samples per step.
    """
    found = []
    for name in tqdm(names, unit="topology"):
        topology, changed = find_topology(name), copy.deepcopy(config)
        changed.batch_size = batch_of(topology)
        found.append(training_plan.find(changed, topology, candidates=candidates)[0])
    return found


def table(plans: Sequence[Plan]) -> str:
    """Rows of plans, with their efficiency behind; the first that fits is 100 %."""
    rates = [
        plan.run.samples_per_second / plan.topology.count if plan.fits else None for plan in plans
    ]
    first = next(filter(None, rates), None)
    shares = [f"{100 * rate / first:.0f} %" if rate else "-" for rate in rates]
    rows = [[*training_text.row(plan), share] for plan, share in zip(plans, shares, strict=True)]
    return aligned([(*training_text.HEAD, "efficiency"), *rows])


def main(argv: list[str]) -> None:
    if len(argv) != 2:
        raise InputError(
            "command line",
            found=argv[1:],
            expected="one configuration",
            fix="python -m semanticvla_jax.costs.scaling configs/semanticvla_libero.py",
        )
    jax.config.update("jax_platforms", "cpu")
    logging.set_verbosity(logging.ERROR)
    config, names, candidates = load_config(argv[1]), _TOPOLOGIES.value, _CANDIDATES.value
    samples = _SAMPLES.value
    weak = plans(config, names, lambda topology: samples * topology.count, candidates)
    print(f"weak scaling, {samples} samples per chip\n{table(weak)}\n", flush=True)
    strong = plans(config, names, lambda _: config.batch_size, candidates)
    print(f"strong scaling, {config.batch_size} samples per step\n{table(strong)}")


if __name__ == "__main__":
    exit_on_input_error(app.run)(main)
