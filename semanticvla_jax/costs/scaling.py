"""How training scales with the number of chips, by compiling its step for each.

    python -m semanticvla_jax.costs.scaling CONFIG [--topologies v5e:2x4,v5e:4x4,...]
        [--samples_per_chip 1] [--candidates 2]

Twice: with a constant number of samples per chip (weak scaling), and with the configuration's own
batch (strong scaling), where the chips divide it. Efficiency is the samples per second and chip at
the roofline, relative to the first topology of each kind.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

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


def compiled(config, cases: Iterable[tuple[str, int]], candidates: int) -> dict[tuple, Plan]:
    """{(topology, samples per step): the best plan}."""
    found = {}
    for name, batch in tqdm(sorted(set(cases)), unit="step"):
        changed = copy.deepcopy(config)
        changed.batch_size = batch
        topology = find_topology(name)
        found[name, batch] = training_plan.find(changed, topology, candidates=candidates)[0]
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
    config, names, samples = load_config(argv[1]), _TOPOLOGIES.value, _SAMPLES.value
    weak = [(name, samples * find_topology(name).count) for name in names]
    strong = [(name, config.batch_size) for name in names]
    plans = compiled(config, weak + strong, _CANDIDATES.value)
    print(f"weak scaling, {samples} samples per chip\n{table([plans[case] for case in weak])}\n")
    print(f"strong scaling, {config.batch_size} samples per step")
    print(table([plans[case] for case in strong]))


if __name__ == "__main__":
    exit_on_input_error(app.run)(main)
