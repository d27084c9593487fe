"""Keeps freed memory in the process when training on the CPU.

XLA's CPU backend allocates and frees its temporaries on every step. glibc returns such large blocks
to the kernel each time, and page faults then take a good part of the step's time.
`python -m benchmarks.host_memory` measures both ways.
"""

from __future__ import annotations

import ctypes
import sys

import jax

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # <malloc.h>


def keep_freed_memory() -> bool:
    """Tells glibc's allocator to reuse large blocks; does nothing on accelerators or other systems.

    Returns:
      Whether the allocator was told.
    """
    if jax.default_backend() != "cpu" or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(
        mallopt(parameter, value)
        for parameter, value in (
            (_M_MMAP_MAX, 0),
            (_M_TRIM_THRESHOLD, 2**31 - 1),
            (_M_TOP_PAD, 256 * 2**20),
        )
    )
