"""Configurations by the name a command line gives them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semanticvla_jax.errors import InputError


def load(name: str, changes: Mapping[str, Any] | None = None):
    """The configuration of `FILE.py` or `FILE.py:words`, with dotted keys changed.

    Raises:
      InputError: no such file.
    """
    path, _, words = name.partition(":")
    if not Path(path).is_file():
        raise InputError(
            "--config",
            found=name,
            expected="a configuration file, such as configs/semanticvla_libero.py",
            fix="correct it",
        )
    spec = importlib.util.spec_from_file_location("configuration", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(words) if words else module.get_config()
    config.update_from_flattened_dict(dict(changes or {}))
    return config
