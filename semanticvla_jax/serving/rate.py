"""How often one client may ask."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """`rate` requests a second on average, up to one second's worth at once."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic):
        self._rate, self._clock = rate, clock
        self._most = self._tokens = max(1.0, rate)
        self._filled = clock()

    def take(self) -> float:
        """Takes a token and returns 0, or returns the seconds until there is one."""
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0
