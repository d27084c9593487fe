"""SIGTERM, the notice that clusters give before they take a machine away."""

from __future__ import annotations

import signal
import threading

import jax
from jax.experimental import multihost_utils


class Preempted(Exception):
    """The run was asked to stop; it saved its state after step `step`."""

    def __init__(self, step: int):
        self.step = step
        super().__init__(f"stopped by SIGTERM after step {step}, which is saved")


class Notice:
    """Listens for SIGTERM while it is entered.

    Among several processes JAX's runtime listens, and one notice makes all of them agree on the
    same step.
    """

    def __init__(self):
        self._received = threading.Event()
        self._previous = None

    def __enter__(self) -> Notice:
        alone = jax.process_count() == 1
        if alone and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, lambda *_: self._received.set())
        return self

    def __exit__(self, *_) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def received(self, step: int) -> bool:
        """Whether to stop after `step`; to be asked once after each step."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._received.is_set()
