from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.runner import Job
from semanticvla_jax.evaluation.scenes import LiberoScenes
from semanticvla_jax.libero.boot import boot
from semanticvla_jax.libero.placement import Official
from semanticvla_jax.libero.rendering import FAST
from semanticvla_jax.libero.suites import find_task

pytestmark = pytest.mark.sim
JOB = Job(find_task("libero_object", 0), Official(0), seed=3)


def test_a_node_without_the_planners_files_generates_the_same():
    elsewhere = dataclasses.replace(boot("generated"), path=Path("/not/on/this/node"))
    env = LiberoScenes(elsewhere, FAST)(JOB, 32)
    assert (env.assets, env.seed, env.image_size) == (boot("generated"), 3, 32)
    env.close()


def test_other_assets_are_refused():
    other = dataclasses.replace(boot("generated"), path=Path("/not/here"), digest="0123")
    with pytest.raises(InputError, match="same assets under the same path on every node"):
        LiberoScenes(other, FAST)(JOB, 32)
