"""Tests. One compilation cache serves them all, and the processes they start."""

import os
import tempfile

_CACHE = tempfile.TemporaryDirectory(prefix="semanticvla_jax_tests_")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _CACHE.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
