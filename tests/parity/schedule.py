"""Cases h: the learning rate of every step that the table lists."""

from __future__ import annotations

import re

import numpy as np

from configs import options
from semanticvla_jax.training import optimizer
from tests.parity.golden import Golden
from tests.parity.precision import Precision
from tests.parity.quantities import Quantity, compare

# The rate is computed in float32; relative to the peak.
TOLERANCE = 1e-6
# How a case's description states settings that may differ from the released ones.
STATED = {
    "warmup_steps": r"LambdaLR i/(\d+)",
    "decay_steps": r"T_max=(\d+)",
    "final_learning_rate": r"eta_min=([\d.e-]+)",
    "learning_rate": r"base ([\d.e-]+)",
}


def check(case: Golden, precision: Precision) -> list[Quantity]:
    settings = options.released_optimizer(adapters=True)
    for name, pattern in STATED.items():
        if stated := re.search(pattern, case.config["case"]):
            settings[name] = type(settings[name])(stated[1])
    peak = settings.learning_rate
    rate = optimizer.schedule(
        peak,
        warmup_steps=settings.warmup_steps,
        decay_steps=settings.decay_steps,
        final=settings.final_learning_rate,
        total_steps=0,
    )
    tables = {"table": {int(step): lr for step, lr in case.config["table"].items()}}
    if case.others:
        tables["step, lr"] = dict(zip(case.others["step"], case.others["lr"], strict=True))
    return [
        compare(name, [rate(i) for i in table], np.array(list(table.values())), TOLERANCE * peak)
        for name, table in tables.items()
    ]
