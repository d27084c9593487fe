"""The batcher: who computes with whom, in which order, and who is told to come back."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.serving.batching import Batcher
from semanticvla_jax.serving.metrics import Metrics
from semanticvla_jax.serving.rate import TokenBucket
from semanticvla_jax.serving.served_policy import BatchedPolicy
from tests.serving.running import PATIENCE, FakePolicy


class Bench:
    """A batcher and a policy that computes when `policy.gate` is set."""

    def __init__(self, sizes=(1, 2, 4), clients=100, wait=0.005, capacity=100):
        self.policy = FakePolicy()
        self.served = BatchedPolicy(self.policy, sizes)
        self.workers, self.compute = ThreadPoolExecutor(4), ThreadPoolExecutor(1)
        self.batcher = Batcher(
            capacity=capacity,
            wait=wait,
            clients=lambda: clients,
            workers=self.workers,
            metrics=Metrics(),
        )

    def ask(self, value: float, policy: BatchedPolicy | None = None) -> asyncio.Task:
        row = {"state": np.array([value] + [0] * 7, np.float32)}
        return asyncio.create_task(self.batcher.submit(policy or self.served, lambda: row))

    async def waiting(self, count: int) -> None:
        """Until so many requests wait, none of them in preparation."""
        while len(self.batcher._queue) != count:
            await asyncio.sleep(0.001)

    async def occupied(self) -> None:
        """Until a computation has begun."""
        while not self.policy.entered:
            await asyncio.sleep(0.001)


def run(bench: Bench, scenario) -> None:
    async def main():
        running = asyncio.create_task(bench.batcher.run(bench.compute))
        try:
            async with asyncio.timeout(PATIENCE):
                await scenario()
        finally:
            bench.policy.gate.set()
            running.cancel()
            bench.workers.shutdown()
            bench.compute.shutdown()

    asyncio.run(main())


def test_a_full_batch_does_not_wait():
    bench = Bench(wait=1000)

    async def scenario():
        answers = await asyncio.gather(*[bench.ask(value) for value in range(4)])
        assert [answer.actions[0, 0] for answer in answers] == [0, 1, 2, 3]
        assert bench.policy.batches == [4]

    run(bench, scenario)


def test_when_every_client_waits_there_is_nobody_to_wait_for():
    bench = Bench(wait=1000, clients=1)

    async def scenario():
        await bench.ask(1)
        assert bench.policy.batches == [1]

    run(bench, scenario)


def test_a_request_waits_no_longer_than_allowed():
    bench = Bench(wait=0.3)

    async def scenario():
        answers = await asyncio.gather(bench.ask(1), bench.ask(2), bench.ask(3))
        assert bench.policy.batches == [4]  # three, padded
        assert [answer.actions.shape for answer in answers] == [(8, 7)] * 3
        assert max(answer.queued for answer in answers) > 0.29  # the oldest

    run(bench, scenario)


def test_the_oldest_go_first():
    bench = Bench(sizes=(1, 2), wait=0)
    bench.policy.gate.clear()

    async def scenario():
        tasks = [bench.ask(0)]
        await bench.occupied()
        for value in range(1, 6):
            tasks.append(bench.ask(value))
            await bench.waiting(value)
        done = []
        for number, task in enumerate(tasks):
            task.add_done_callback(lambda _, number=number: done.append(number))
        bench.policy.gate.set()
        await asyncio.gather(*tasks)
        assert bench.policy.batches == [1, 2, 2, 1] and done == list(range(6))

    run(bench, scenario)


def test_too_many_are_told_to_come_back():
    bench = Bench(capacity=2, wait=0)
    bench.policy.gate.clear()

    async def scenario():
        first = bench.ask(0)
        await bench.occupied()
        others = [bench.ask(1), bench.ask(2)]
        await bench.waiting(2)
        with pytest.raises(ServingError) as busy:
            await bench.ask(3)
        assert busy.value.code == "busy" and busy.value.retryable
        bench.policy.gate.set()
        await asyncio.gather(first, *others)
        await bench.ask(4)

    run(bench, scenario)


def test_requests_stay_with_the_policy_that_prepared_them():
    bench = Bench(wait=0)
    other = FakePolicy(offset=100)
    bench.policy.gate.clear()

    async def scenario():
        first = bench.ask(0)
        await bench.occupied()
        served = BatchedPolicy(other, (1, 2, 4))
        rest = [bench.ask(1), bench.ask(2, served), bench.ask(3), bench.ask(4, served)]
        await bench.waiting(4)
        bench.policy.gate.set()
        answers = await asyncio.gather(first, *rest)
        assert [answer.actions[0, 0] for answer in answers] == [0, 1, 102, 3, 104]
        assert bench.policy.batches == [1, 2] and other.batches == [2]

    run(bench, scenario)


def test_the_vanished_are_not_computed():
    bench = Bench(wait=0)
    bench.policy.gate.clear()

    async def scenario():
        first = bench.ask(0)
        await bench.occupied()
        leaving, staying = bench.ask(1), bench.ask(2)
        await bench.waiting(2)
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving
        bench.policy.gate.set()
        await asyncio.gather(first, staying)
        assert bench.policy.batches == [1, 1]

    run(bench, scenario)


def test_one_failing_batch_does_not_end_the_next():
    bench = Bench(wait=0)

    async def scenario():
        bad = {"state": -np.ones(8, np.float32)}
        with pytest.raises(ServingError, match="internal"):
            await bench.batcher.submit(bench.served, lambda: bad)
        assert (await bench.ask(1)).actions[0, 0] == 1

    run(bench, scenario)


def test_warming_up_compiles_every_size():
    policy = FakePolicy()
    BatchedPolicy(policy, (1, 2, 4)).warm_up()
    assert policy.batches == [1, 2, 4]


def test_a_token_bucket():
    now = [0.0]
    bucket = TokenBucket(2.0, clock=lambda: now[0])
    assert [bucket.take(), bucket.take()] == [0, 0]
    assert bucket.take() == 0.5  # seconds until the next of two a second
    now[0] = 0.25
    assert bucket.take() == 0.25
    now[0] = 0.5
    assert bucket.take() == 0
    now[0] = 100
    assert [bucket.take(), bucket.take(), bucket.take()] == [0, 0, 0.5]  # it holds two at most
