"""A tiny dataset shared by the tests of the data pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.tfds_writer import write_dataset


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> Path:
    """Five episodes of 12 steps (in file order 0 2 4 | 1 3), 32 x 32 pixels; do not modify."""
    return write_dataset(tmp_path_factory.mktemp("datasets"))
