"""A fixed control rate."""

from __future__ import annotations

import time
from collections.abc import Callable


class Rate:
    """Ticks `hertz` times a second, the first one period from now.

    A step that ends late is followed at once by the next, which ends on schedule again; one that is
    late by whole periods skips those ticks: no burst of actions to catch up.

    Attributes:
      missed: ticks skipped so far.
    """

    def __init__(
        self,
        hertz: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._period, self._clock, self._sleep = 1 / hertz, clock, sleep
        self._next = clock() + self._period
        self.missed = 0

    def wait(self) -> None:
        """Returns at the next tick, or at once if it is past."""
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        else:
            skipped = int((now - self._next) // self._period)
            self.missed += skipped
            self._next += skipped * self._period
        self._next += self._period
