"""Loops over pixels, compiled to machine code at their first call and kept on disk."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable


def compiled(loop: Callable) -> Callable:
    """The function, compiled by Numba for the types it is called with.

    It runs without the interpreter lock, so threads work side by side, and without "fast math", so
    that every machine computes the same bits. It cannot call another compiled function.
    """

    lock = threading.Lock()

    @functools.cache
    def dispatcher():
        import numba  # takes a second; policies that see no image do without

        try:
            return numba.njit(nogil=True, cache=True)(loop)
        except RuntimeError:  # no directory can be written to
            return numba.njit(nogil=True)(loop)

    @functools.wraps(loop)
    def call(*arguments):
        with lock:  # or the first threads to come would each compile it
            ready = dispatcher()
        return ready(*arguments)

    return call
