"""Compiled programs kept on disk, so that a restart need not compile them again."""

from __future__ import annotations

from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache


def keep_programs(directory: str | Path) -> None:
    """JAX's persistent compilation cache in this folder, for this process, every program included.

    Programs are found again by model, shapes, versions and device; the folder may be shared and may
    be deleted at any time.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    compilation_cache.reset_cache()
