"""One action for every control step out of chunks that arrive late."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.client.plans import Combine, Newest, Plan, ServerLate

Observation = Mapping[str, Any]


class ChunkRunner:
    """One action per control step; asks for a new plan every `every` steps, one at a time.

    With `immediate(infer)` it is synchronous: `every=n` executes n actions open loop, `every=1` and
    `Ensemble()` make temporal ensembling. With `Background(infer)` it never waits: older plans go
    on while a question is under way, which needs `every` + the delay in steps <= K.

    Attributes:
      step: control steps so far.
      delay: steps between the newest plan's observation and its arrival.
      failures: questions without an answer so far.
    """

    def __init__(
        self,
        ask: Callable[[Observation], Future],
        *,
        every: int,
        when_late: Callable[[np.ndarray, float], np.ndarray],
        combine: Combine | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Starts with no plan; call `start` before the first `act`.

        Args:
          ask: observation -> future of f[K, A].
          every: steps between questions.
          when_late: (last action, seconds without a plan) -> action; see `Hold`.
          combine: overlapping plans -> action; `Newest()` by default.
          clock: seconds.
        """
        self._ask, self.every, self._when_late = ask, every, when_late
        self._combine, self._clock = combine or Newest(), clock
        self._question: tuple[int, Future] | None = None
        self._forget()

    def start(self, observation: Observation, timeout: float | None = None) -> None:
        """Begins an episode: forgets all plans and waits for the first.

        Raises:
          ServingError, TimeoutError: there is none.
        """
        if self._question is not None:
            self._question[1].cancel()
        self._forget()
        actions = self._ask(observation).result(timeout)
        self._plans, self._asked = [Plan(0, np.asarray(actions))], 0

    def act(self, observe: Callable[[], Observation]) -> np.ndarray:
        """The action f[A] for this control step.

        Args:
          observe: called only when a question is due, since rendering or grabbing images costs.

        Raises:
          ServerLate: by `when_late`; its cause is the last failure.
          ServingError: the server refused a question for good, e.g. a bad observation.
        """
        self._collect()
        if self._question is None and self._is_due():
            self._question = self.step, self._ask(observe())
            self._collect()
        plans = [plan for plan in self._plans if plan.covers(self.step)]
        if plans:
            self._late_since, self._last = None, self._combine(plans, self.step)
            action = self._last
        else:
            action = self._stall()
        self.step += 1
        return action

    def _forget(self) -> None:
        self.step, self.delay, self.failures = 0, 0, 0
        self._plans: list[Plan] = []
        self._asked: int | None = None
        self._question = None
        self._last: np.ndarray | None = None
        self._late_since: float | None = None
        self._failure: ServingError | None = None

    def _is_due(self) -> bool:
        covered = any(plan.covers(self.step) for plan in self._plans)
        return not covered or self._asked is None or self.step - self._asked >= self.every

    def _collect(self) -> None:
        if self._question is None or not self._question[1].done():
            return
        (start, future), self._question = self._question, None
        try:
            plan = Plan(start, np.asarray(future.result()))
        except ServingError as error:
            if not error.retryable:
                raise
            self.failures, self._failure, self._asked = self.failures + 1, error, None
            return
        self.delay, self._asked = self.step - start, start
        self._plans = [p for p in self._plans if p.covers(self.step)] + [plan]

    def _stall(self) -> np.ndarray:
        if self._last is None:
            raise ServerLate("no plan has ever arrived: call start() first") from self._failure
        if self._late_since is None:
            self._late_since = self._clock()
        try:
            return self._when_late(self._last, self._clock() - self._late_since)
        except ServerLate as late:
            raise late from self._failure


def immediate(infer: Callable[[Observation], np.ndarray]) -> Callable[[Observation], Future]:
    """Asks and waits for the answer."""

    def ask(observation: Observation) -> Future:
        future: Future = Future()
        try:
            future.set_result(infer(observation))
        except ServingError as error:
            future.set_exception(error)
        return future

    return ask


class Background:
    """Asks in a thread of its own, so that the control loop never waits."""

    def __init__(self, infer: Callable[[Observation], np.ndarray]):
        self._infer = infer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="policy")

    def __call__(self, observation: Observation) -> Future:
        return self._thread.submit(self._infer, observation)

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *exception) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
