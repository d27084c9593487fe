"""A pool on a Ray cluster: simulators where there are CPUs, policies where there are accelerators.

Optional: `pip install -r requirements/ray.txt`. The checkpoint must be readable under the same path
on every node that may run a policy, and this package importable on every node.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.batching import Batcher
from semanticvla_jax.evaluation.runner import EpisodeRunner, Job, Setup
from semanticvla_jax.evaluation.served import Answer, Query

try:
    import ray
except ImportError:
    ray = None

LOSSES = 20  # of a place in a row, after which the run ends


@dataclass(frozen=True)
class Resources:
    """What Ray reserves for each actor.

    Attributes:
      simulators, policies: how many.
      simulator: of each simulator, as `ray.actor.options` takes it.
      policy: of each policy, e.g. {"num_gpus": 1} or {"resources": {"TPU": 4}}.
    """

    simulators: int
    policies: int
    simulator: dict[str, Any]
    policy: dict[str, Any]


def options(text: str) -> dict[str, Any]:
    """'GPU=1' -> what `ray.actor.options` takes; all but CPU and GPU are custom resources.

    Raises:
      InputError: not NAME=NUMBER, separated by commas.
    """
    amounts: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.strip().partition("=")
        if not name or not number.replace(".", "", 1).isdecimal():
            raise InputError(
                "--policy_resources",
                found=repr(part),
                expected="NAME=NUMBER, separated by commas",
                fix="correct it, for example GPU=1 or TPU=4",
            )
        amounts[name] = float(number)
    known = {"num_cpus": amounts.pop("CPU", 0), "num_gpus": amounts.pop("GPU", 0)}
    return {**known, "resources": amounts}


def connect(address: str, cpus: int) -> None:
    """Joins the cluster at `address`, or starts one of `cpus` on this machine if it is 'local'.

    Raises:
      InputError: Ray is not installed, or there is no cluster.
    """
    if ray is None:
        raise InputError(
            "--ray",
            found="no package named ray",
            expected="Ray",
            fix="pip install -c requirements/constraints.txt -r requirements/ray.txt",
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    where = {"address": address}
    if address == "local":
        where |= {"num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(**where, log_to_driver=False, logging_level="error", ignore_reinit_error=True)
    except ConnectionError as error:
        raise InputError(
            "--ray",
            found=f"no cluster at {address} ({error})",
            expected="the address of a running cluster, or 'local'",
            fix="start one with `ray start --head`, or use --ray local",
        ) from None


class PolicyActor:
    """A policy whose callers are batched. Ray starts it again, and its calls, when it dies."""

    def __init__(self, setup: Setup, delay: float):
        self._batcher: Batcher[tuple[Query, asyncio.Future]] = Batcher(delay)
        self._asked = asyncio.Event()
        self._serving: asyncio.Task | None = None
        try:
            self._policy, self._error = setup.make_policy(), None
            self._batcher.capacity = max(self._policy.sizes)
        except InputError as error:
            self._error = error

    async def error(self) -> InputError | None:
        """Why it cannot answer."""
        return self._error

    async def ask(self, query: Query) -> Answer:
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        answer = asyncio.get_running_loop().create_future()
        self._batcher.add((query, answer))
        self._asked.set()
        return await answer

    async def _serve(self) -> None:
        while True:
            while (patience := self._batcher.patience(company=True)) != 0.0:
                self._asked.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), patience)
            taken = self._batcher.take()
            try:
                queries = [query for query, _ in taken]
                for (_, future), answer in zip(
                    taken, await asyncio.to_thread(self._policy.answer, queries), strict=True
                ):
                    future.set_result(answer)
            except Exception:
                logging.exception("the policy failed; Ray starts it again")
                os._exit(1)


class SimulatorActor:
    """Runs jobs one at a time; asks one of the policies."""

    def __init__(self, setup: Setup, policy):
        self._runner = EpisodeRunner(setup, lambda query: ray.get(policy.ask.remote(query)))

    def ready(self) -> None:
        """Answers as soon as the actor runs."""

    def run(self, job: Job) -> dict[str, Any] | InputError:
        try:
            node = ray.get_runtime_context().get_node_id()[:8]
            return {**self._runner.run(job), "node": node}
        except InputError as error:
            return error


@dataclass
class Place:
    """A simulator actor, while it lives, and what it does.

    Attributes:
      index: names it in the rows, with its node.
      actor: None before it is started, or after its loss.
      starting: reference that resolves when Ray has found a node for it; None from then on.
      scene, job: what its environment is made for; what it runs.
      running: reference of the job's result.
      since: when the job began, by `time.monotonic`.
      losses: times in a row that its actor was lost.
    """

    index: int
    actor: Any = None
    starting: Any = None
    scene: Hashable = None
    job: Job | None = None
    running: Any = None
    since: float = 0.0
    losses: int = 0


class RayPool:
    """See `engine.Pool`. A lost node costs the attempts that ran on it.

    Simulators for which the cluster has no room wait until it has, without a job.
    """

    def __init__(self, setup: Setup, resources: Resources, delay: float, timeout: float):
        """Starts the policies on the connected cluster.

        Args:
          setup: what to run.
          resources: how many actors, and what each needs.
          delay: seconds that a query waits for company at most.
          timeout: seconds that an episode may take before its simulator is killed.

        Raises:
          InputError: a policy cannot be loaded.
        """
        self._setup, self._timeout = ray.put(setup), timeout
        self._resources = resources
        self._places = [Place(index) for index in range(resources.simulators)]
        self._policies = []
        if setup.make_policy is not None:
            again = {"max_restarts": -1, "max_task_retries": -1, "max_concurrency": 1000}
            remote = ray.remote(PolicyActor).options(**again, **resources.policy)
            self._policies = [remote.remote(self._setup, delay) for _ in range(resources.policies)]
        for error in ray.get([policy.error.remote() for policy in self._policies]):
            if error:
                raise error

    @property
    def busy(self) -> list[Place]:
        return [place for place in self._places if place.job]

    def free(self) -> list[Place]:
        for place in self._places:
            if place.actor is None:
                self._start(place)
        return [place for place in self._places if not place.starting and not place.job]

    def _start(self, place: Place) -> None:
        policy = self._policies[place.index % len(self._policies)] if self._policies else None
        remote = ray.remote(SimulatorActor).options(**self._resources.simulator)
        place.actor = remote.remote(self._setup, policy)
        place.starting = place.actor.ready.remote()

    def submit(self, worker: Place, job: Job) -> None:
        worker.job, worker.scene, worker.since = job, job.scene, time.monotonic()
        worker.running = worker.actor.run.remote(job)

    def finished(self) -> list[tuple[Job, dict[str, Any]]]:
        """As in `engine.Pool`, but also returns, with nothing, when a simulator has started."""
        while True:
            waiting = {place.running or place.starting: place for place in self._places}
            waiting.pop(None, None)
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=1.0)
            ended = [waiting[reference] for reference in done if waiting[reference].job]
            for place in (waiting[reference] for reference in done if not waiting[reference].job):
                self._greet(place)
            results = [self._end(place) for place in ended] + self._give_up_on_slow()
            if done or results:
                return results

    def _greet(self, place: Place) -> None:
        try:
            ray.get(place.starting)
            place.starting = None
        except ray.exceptions.RayError as error:
            self._lose(place, str(error).splitlines()[0])

    def _end(self, place: Place) -> tuple[Job, dict[str, Any]]:
        job = place.job
        try:
            outcome = ray.get(place.running)
        except ray.exceptions.RayError as error:
            return job, self._lose(place, "WorkerDied: " + str(error).splitlines()[0])
        if isinstance(outcome, InputError):
            raise outcome
        place.job, place.running, place.losses = None, None, 0
        return job, {**outcome, "worker": place.index}

    def _give_up_on_slow(self) -> list[tuple[Job, dict[str, Any]]]:
        now, reason = time.monotonic(), f"WorkerHung: killed after {self._timeout:g} s"
        slow = [place for place in self.busy if now > place.since + self._timeout]
        return [(place.job, self._lose(place, reason)) for place in slow]

    def _lose(self, place: Place, reason: str) -> dict[str, Any]:
        """Forgets a dead or hung actor; the error that its job ends in."""
        place.losses += 1
        if place.losses >= LOSSES:
            raise RuntimeError(f"simulator {place.index} was lost {LOSSES} times, last: {reason}")
        ray.kill(place.actor)
        place.actor = place.starting = place.job = place.running = place.scene = None
        kind = reason.partition(":")[0]
        return {"status": "error", "error_type": kind, "error": reason, "worker": place.index}

    def close(self) -> None:
        for actor in (*(place.actor for place in self._places), *self._policies):
            if actor is not None:
                ray.kill(actor)
