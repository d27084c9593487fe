"""Which pool the command line asks for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from semanticvla_jax.evaluation.batching import Batcher
from semanticvla_jax.evaluation.contestants import Contestant
from semanticvla_jax.evaluation.engine import Pool
from semanticvla_jax.evaluation.local import LocalPool, ThisProcess
from semanticvla_jax.evaluation.runner import Setup
from semanticvla_jax.evaluation.scenes import LiberoScenes

if TYPE_CHECKING:
    from semanticvla_jax.libero.assets.resolve import Assets


def make_pool(
    arguments: argparse.Namespace, assets: Assets, contestant: Contestant, jobs: int
) -> Pool:
    """Where the episodes run: on Ray, in processes, or (--workers 0) in this one.

    Args:
      arguments: of the command line.
      assets: LIBERO's.
      contestant: who is evaluated.
      jobs: how many there are; more workers would idle.

    Raises:
      InputError: Ray is asked for and cannot be had.
    """
    from semanticvla_jax.libero.rendering import RENDERINGS

    setup = Setup(
        LiberoScenes(assets, RENDERINGS[arguments.rendering]),
        contestant.make_agent,
        contestant.make_policy,
        arguments.max_steps,
    )
    delay, workers = arguments.batch_delay_ms / 1000, min(arguments.workers, jobs)
    if arguments.ray:
        from semanticvla_jax.evaluation.ray_pool import RayPool, Resources, connect, options

        connect(arguments.ray, cpus=workers)
        resources = Resources(
            workers, arguments.policies, {"num_cpus": 1}, options(arguments.policy_resources)
        )
        return RayPool(setup, resources, delay, arguments.timeout)
    if arguments.workers == 0:
        return ThisProcess(setup)
    return LocalPool(setup, workers, Batcher(delay), arguments.timeout)
