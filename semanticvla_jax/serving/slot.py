"""The policy that serves, and the one that is about to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from semanticvla_jax.errors import InputError
from semanticvla_jax.serving.description import describe
from semanticvla_jax.serving.metrics import Metrics
from semanticvla_jax.serving.served_policy import BatchedPolicy, ServablePolicy

_log = logging.getLogger(__name__)


class PolicySlot:
    """Holds one compiled policy; loads the next in a thread and swaps when it is compiled.

    Both are in memory while the new one loads. A policy that cannot be loaded, or acts for a robot
    other than the one clients were told of, leaves the old one in place.

    Attributes:
      current: what serves; None until the first is compiled.
      filled: set as soon as there is one.
      last_load: what the latest load did, for people: "loading ...", "serves ...", "failed: ...".
    """

    def __init__(
        self,
        load: Callable[[], ServablePolicy],
        sizes: tuple[int, ...],
        metrics: Metrics,
        batched: Callable[..., BatchedPolicy] = BatchedPolicy,
    ):
        self._load, self._sizes, self._metrics = load, sizes, metrics
        self._batched = batched
        self._loading = asyncio.Lock()
        self.current: BatchedPolicy | None = None
        self.filled = asyncio.Event()
        self.last_load = "starting"

    async def load(self) -> None:
        """Loads, compiles every batch size, then swaps; requests already waiting keep their policy.

        Raises:
          Exception: whatever loading raises; nothing has changed then but `last_load`.
        """
        async with self._loading:
            self.last_load = "loading"
            thread = ThreadPoolExecutor(1, thread_name_prefix="load")
            try:
                loop = asyncio.get_running_loop()
                new = await loop.run_in_executor(thread, self._load_and_compile)
                self._swap(new)
            except Exception as error:
                self.last_load = f"failed: {error}"
                self._metrics.loads.labels("failed").inc()
                raise
            finally:
                thread.shutdown(wait=False)

    async def reload(self) -> None:
        """As `load`, but problems are only reported: the old policy goes on."""
        if self._loading.locked():
            _log.warning("a policy is being loaded already; this reload is ignored")
            return
        try:
            await self.load()
        except InputError as error:
            _log.error("the old policy goes on: %s", error)
        except Exception:
            _log.exception("the old policy goes on")

    def _load_and_compile(self) -> BatchedPolicy:
        new = self._batched(self._load(), self._sizes)
        new.warm_up()
        return new

    def _swap(self, new: BatchedPolicy) -> None:
        old, told = self.current, describe(new)
        if old is not None and {**describe(old), "policy": new.label} != told:
            raise InputError(
                f"policy {new.label} to swap in",
                found=f"robot {told['robot']}, chunk {told['chunk']}, images {told['camera_size']}",
                expected=f"what clients were told of {old.label}",
                fix="start another server for it",
            )
        self.current = new
        self.last_load = f"serves {new.label}"
        self._metrics.loads.labels("succeeded").inc()
        self._metrics.serves(new.label)
        self.filled.set()
        _log.info("serves %s", new.label)
