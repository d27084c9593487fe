"""FLOPs of every program at any shapes, by tracing alone: nothing of the model's size exists."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.accelerators.contestants import NONE, methods_of
from semanticvla_jax.accelerate.methods import read_methods
from semanticvla_jax.accelerate.program import Program
from semanticvla_jax.accelerate.wrap import check_composition
from semanticvla_jax.costs import products
from semanticvla_jax.costs.printed import Unit, aligned
from semanticvla_jax.costs.table import load_config
from semanticvla_jax.errors import InputError
from semanticvla_jax.models import abstract
from semanticvla_jax.models.build import build, for_inference
from semanticvla_jax.robots import find_robot

PROMPT = 20  # tokens, as costs.table counts


def count(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Prints a table for each configuration; all its rows."""
    found = []
    for name in arguments.config:
        config = load_config(name)
        model, robot = abstract.complete(config), find_robot(config["robot"])
        rows: list[dict[str, Any]] = []
        for method in (NONE, *arguments.methods.split(",")):
            try:
                rows += _method(model, robot, method)
            except InputError as error:
                print(f"{method}: {error}", flush=True)
        plain, unit = rows[0]["flops"], Unit("FLOP", rows[0]["flops"])
        print(f"\n{name}, batch 1, {PROMPT} prompt tokens, the sentence understood beforehand")
        cells = [
            (
                row["method"],
                "/".join(map(str, row["slots"])),
                unit(row["flops"]),
                f"{row['flops'] / plain:.3f}",
            )
            for row in rows
        ]
        print(aligned([("method", "slots", f"{unit.name}/call", "of none"), *cells]), flush=True)
        found += [{"config": name, **row} for row in rows]
    return found


def _method(config: Mapping[str, Any], robot, name: str) -> list[dict[str, Any]]:
    """One row for each of the fewest and the most slots that the method takes."""
    model = build(for_inference(config))
    chosen = read_methods(methods_of(name), model.llm.depth)
    check_composition(chosen)
    if any(hasattr(method, "around") or hasattr(method, "reshape") for method in chosen):
        return []  # what leaves out calls, or depends on trained weights
    stages = [method for method in chosen if hasattr(method, "combine")]
    inside = [method for method in chosen if hasattr(method, "cuts")]
    shapes = abstract.abstract_batch(config, robot, PROMPT)
    params = abstract.init(model, shapes)
    batch = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)

    def program(params) -> Program:
        return Program(model, params, *stages, methods=inside)

    extras = program(params).prepare(batch, None, robot)
    heard = {name: batch[name] for name in ("images", "state")}
    heard["instruction"] = jax.eval_shape(
        lambda params, batch: model.apply({"params": params}, batch, method="understand"),
        params,
        batch,
    )
    begun = jax.eval_shape(lambda p, b, e: program(p).begin(b, e), params, heard, extras)
    visual = program(params).visual_tokens(heard, extras)
    choices = program(params).choices(visual)
    rows = []
    for slots in dict.fromkeys((choices[0], choices[-1])):

        def query(params, batch, extras, state, slots=slots):
            return program(params).run(slots, batch, extras, state, None)[0]

        traced = products.trace(query, params, heard, extras, begun)
        flops = products.total(traced.products)
        rows.append({"method": name, "slots": list(slots), "flops": flops})
    return rows
