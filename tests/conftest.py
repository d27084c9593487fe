"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


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
