"""A profile of some steps, on demand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax

from semanticvla_jax.errors import InputError


class Profile:
    """Traces steps first..last of a run into WORKDIR/profile, for TensorBoard or Perfetto.

    Args:
      steps: (first, last), counted from 1; empty = none. The first step of a run compiles.
      workdir: of the run.

    Raises:
      InputError: not two numbers in order.
    """

    def __init__(self, steps: Sequence[int], workdir: Path):
        if len(steps) not in (0, 2) or (steps and not 1 <= steps[0] <= steps[1]):
            raise InputError(
                "config.profile_steps",
                found=tuple(steps),
                expected="(first, last), counted from 1, or ()",
                fix="write e.g. --config.profile_steps='(10, 15)'",
            )
        self._first, self._last = steps or (0, 0)
        self._directory = workdir / "profile"
        self._running = False

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *_) -> None:
        if self._running:
            self._stop()

    def before(self, step: int) -> None:
        """To be called before a step is dispatched."""
        if step == self._first:
            jax.profiler.start_trace(str(self._directory))
            self._running = True

    def after(self, step: int, results) -> None:
        """To be called with a step's results; the last one is waited for."""
        if self._running and step == self._last:
            jax.block_until_ready(results)
            self._stop()

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self._running = False
        print(f"profile of steps {self._first}-{self._last}: {self._directory}")
