"""Which queries a policy answers together, and when: dynamic batching with static shapes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from semanticvla_jax.errors import InputError

Item = TypeVar("Item")


class Batcher(Generic[Item]):
    """Items that wait to be served together.

    Attributes:
      capacity: largest batch; the server says what it can take.
    """

    def __init__(self, delay: float, clock: Callable[[], float] = time.monotonic):
        """Collects for one server.

        Args:
          delay: seconds that an item waits for company at most, while the server is free.
          clock: seconds.
        """
        self.capacity = 1
        self._delay, self._clock = delay, clock
        self._waiting: deque[tuple[float, Item]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Item) -> None:
        self._waiting.append((self._clock(), item))

    def discard(self, unwanted: Callable[[Item], bool]) -> None:
        """Forgets items nobody waits for any more."""
        self._waiting = deque(entry for entry in self._waiting if not unwanted(entry[1]))

    def patience(self, company: bool) -> float | None:
        """Seconds until a batch is due; 0: now; None: nothing waits.

        Args:
          company: whether anybody could still join.
        """
        if not self._waiting:
            return None
        if not company or len(self._waiting) >= self.capacity:
            return 0.0
        return max(0.0, self._waiting[0][0] + self._delay - self._clock())

    def take(self) -> list[Item]:
        """The items that waited longest, at most `capacity`."""
        count = min(self.capacity, len(self._waiting))
        return [self._waiting.popleft()[1] for _ in range(count)]

    def give_back(self, items: Sequence[Item]) -> None:
        """Puts items that were taken but not served in front again; they are due at once."""
        self._waiting.extendleft((float("-inf"), item) for item in reversed(items))


def check_sizes(text: str) -> tuple[int, ...]:
    """'4,1' -> (1, 4): batch sizes in ascending order.

    Raises:
      InputError: something else than positive integers.
    """
    sizes = {int(word) if word.strip().isdecimal() else 0 for word in text.split(",")}
    if 0 in sizes:
        raise InputError(
            "--batch_sizes",
            found=repr(text),
            expected="positive integers, separated by commas",
            fix="correct it, for example 1,4,16",
        )
    return tuple(sorted(sizes))
