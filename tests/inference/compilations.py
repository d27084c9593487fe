"""What XLA compiles meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax

EVENT = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def compilations() -> Iterator[list[float]]:
    """A list that gets the seconds of every program compiled, or read from the cache."""
    seconds: list[float] = []

    def listen(event: str, duration: float, **_) -> None:
        if event == EVENT:
            seconds.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
