"""Who is evaluated: a checkpoint's policy, its untrained twin, or the scripted expert."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semanticvla_jax.accelerate.sp_vla import Schedule
from semanticvla_jax.data import normalization
from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.accelerated import ScheduledAgent
from semanticvla_jax.evaluation.agents import Agent, ExpertAgent, PolicyAgent, SuiteAgent
from semanticvla_jax.evaluation.served import Ask, ServedPolicy, load_served
from semanticvla_jax.inference.options import DEFAULTS, InferenceOptions
from semanticvla_jax.interface import Interface, read_interface


@dataclass(frozen=True)
class Contestant:
    """An identity and the constructors that `runner.Setup` wants.

    Attributes:
      identity: JSON-able; its "policy" is the label in the rows.
    """

    identity: dict[str, Any]
    make_agent: Callable[[Ask], Agent]
    make_policy: Callable[[], ServedPolicy] | None = None


EXPERT = Contestant({"policy": "expert"}, ExpertAgent)


def checkpoint_policy(
    checkpoint: str,
    *,
    step: int | None = None,
    dataset: str | None = None,
    untrained: bool = False,
    execute: int | None = None,
    sentence: str | None = None,
    sizes: Sequence[int] | None = None,
    accelerate: str = "",
    typical: str | None = None,
    suites: Sequence[str] = (),
    options: InferenceOptions = DEFAULTS,
) -> Contestant:
    """The policy of a training run.

    Args:
      checkpoint: its work directory, or one checkpoint's directory.
      step: which checkpoint; the latest by default.
      dataset: whose normalisation to use, if it was trained on several; default: in each of
        `suites` that suite's.
      untrained: the checkpoint's architecture with fresh parameters.
      execute: actions per query; default: the whole chunk.
      sentence: said instead of each task's own.
      sizes: batch sizes; None: one that suits the device.
      accelerate: accelerators, as accelerate.methods reads them; empty: none.
      typical: demonstrations for accelerators that want some; default: what it was trained on.
      options: how the model is run.

    Raises:
      InputError: no such checkpoint, dataset or accelerator, or `execute` is out of range.
    """
    from semanticvla_jax.training.checkpoints import open_for_reading

    checkpoints, step = open_for_reading(checkpoint, step)
    meta = checkpoints.read_meta(step)
    checkpoints.close()
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    methods = _accelerators(accelerate, meta)
    label = "untrained" if untrained else "checkpoint"
    datasets = _datasets(meta, dataset, suites)
    interfaces = {suite: read_interface(meta, label, name) for suite, name in datasets.items()}
    schedules = tuple(method for method in methods if hasattr(method, "around"))
    make_agent = functools.partial(agent_of, interfaces, execute, sentence, schedules)
    make_agent(_nobody)  # bad arguments are told before anything starts
    identity = {
        "policy": "+".join([label, *filter(None, accelerate.replace(" ", "").split(","))]),
        "checkpoint_step": step,
        "checkpoint_digest": digest.hexdigest()[:12],
        "execute": execute,
        "dataset": dataset,
        **({"sentence": sentence} if sentence else {}),
        **({"accelerate": _settings(methods)} if methods else {}),
        **options.changes,
    }
    make_policy = functools.partial(
        load_served,
        os.path.abspath(checkpoint),
        step,
        next(iter(datasets.values())),  # it sees and says normalised numbers
        untrained,
        sizes,
        accelerate,
        typical and os.path.abspath(typical),
        options,
    )
    return Contestant(identity, make_agent, make_policy)


def agent_of(
    interfaces: Mapping[str, Interface],
    execute: int | None,
    sentence: str | None,
    schedules: Sequence[Schedule],
    ask: Ask,
) -> Agent:
    """Asks by `ask`, with the interface of each suite, or the only one in all, and schedules."""
    agents = {}
    for suite, interface in interfaces.items():
        agents[suite] = PolicyAgent(interface, execute, sentence, ask)
        for schedule in schedules:
            agents[suite] = ScheduledAgent(agents[suite], schedule)
    return SuiteAgent(agents) if len(agents) > 1 else next(iter(agents.values()))


def _datasets(meta: dict[str, Any], dataset: str | None, suites: Sequence[str]) -> dict:
    """{suite: name of the dataset whose normalisation counts there}."""
    statistics = normalization.from_json(meta["statistics"])
    if dataset is not None or len(statistics) == 1 or not suites:
        return {"": dataset}
    return {suite: normalization.find_statistics(statistics, suite)[0] for suite in suites}


def _accelerators(text: str, meta: dict[str, Any]) -> tuple[Any, ...]:
    """Of a checkpoint's policy; what does not go together is told before anything starts."""
    if not text:
        return ()
    from semanticvla_jax.accelerate.methods import read_methods
    from semanticvla_jax.accelerate.wrap import check_composition

    methods = read_methods(text, meta["config"]["model"]["llm"]["depth"])
    check_composition(methods)
    return methods


def _settings(methods: Sequence[Any]) -> list[dict[str, Any]]:
    from semanticvla_jax.accelerate.methods import describe

    return [describe(method) for method in methods]


def no_checkpoint() -> InputError:
    return InputError(
        "policy to evaluate",
        found="no --checkpoint",
        expected="the --workdir of a training run",
        fix="pass --checkpoint DIR, or --policy expert",
    )


def _nobody(query):
    raise AssertionError("asked before the evaluation began")
