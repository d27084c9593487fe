"""Cases h: the learning rate of every step that the table lists."""

from __future__ import annotations

import re

import numpy as np

from semanticvla_jax.training import optimizer
from tests.parity.golden import Golden
from tests.parity.precision import Precision
from tests.parity.quantities import Quantity, compare

# The rate is computed in float32; relative to the peak.
TOLERANCE = 1e-6
# How the case's description states its settings.
STATED = {
    "warmup_steps": r"LambdaLR i/(\d+)",
    "decay_steps": r"T_max=(\d+)",
    "final": r"eta_min=([\d.e-]+)",
    "peak": r"base ([\d.e-]+)",
}


def check(case: Golden, precision: Precision) -> list[Quantity]:
    stated = {name: re.search(p, case.config["case"])[1] for name, p in STATED.items()}
    peak, final = float(stated["peak"]), float(stated["final"])
    rate = optimizer.schedule(
        peak,
        warmup_steps=int(stated["warmup_steps"]),
        decay_steps=int(stated["decay_steps"]),
        final=final,
        total_steps=0,
    )
    tables = {"table": {int(step): lr for step, lr in case.config["table"].items()}}
    if case.others:
        tables["step, lr"] = dict(zip(case.others["step"], case.others["lr"], strict=True))
    return [
        compare(name, [rate(i) for i in table], np.array(list(table.values())), TOLERANCE * peak)
        for name, table in tables.items()
    ]
