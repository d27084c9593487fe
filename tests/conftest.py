"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import jax
import pytest

from tests.data.tfds_writer import write_dataset
from tests.smallest import smallest_config

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure(config):
    """What one test compiles, other tests and the processes they start load from a folder."""
    if hasattr(config, "workerinput"):  # a process of pytest-xdist, which inherits the variable
        return
    folder = tempfile.TemporaryDirectory(prefix="compiled_")
    config.add_cleanup(folder.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    jax.config.update("jax_compilation_cache_dir", folder.name)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference goldens and original simulator assets, where a checkout has them beside it."""
    path = Path(os.environ.get("SEMANTICVLA_SHARED", REPOSITORY.parent / "shared"))
    if not path.is_dir():
        pytest.skip("reference material (goldens, original assets) is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> Path:
    """Five episodes of 12 steps (in file order 0 2 4 | 1 3), 32 x 32 pixels; do not modify."""
    return write_dataset(tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="session")
def finished_run(tiny_dataset, tmp_path_factory) -> Path:
    """Work directory of a complete training run of six steps; do not modify."""
    from semanticvla_jax.train import train

    workdir = tmp_path_factory.mktemp("finished")
    train(smallest_config(tiny_dataset), workdir)
    return workdir
