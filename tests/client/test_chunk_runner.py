"""The chunk runner by hand: when it asks, and which action each step gets."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest

from semanticvla_jax.client.chunk_runner import Background, ChunkRunner, immediate
from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.client.plans import Ensemble, Hold, ServerLate

K = 4


class Server:
    """Answers when told to. Question n gets the chunk 10 n, 10 n + 1, ..."""

    def __init__(self):
        self.asked: list[int] = []
        self.futures: list[Future] = []

    def __call__(self, observation) -> Future:
        self.asked.append(observation["step"])
        self.futures.append(Future())
        return self.futures[-1]

    def chunk(self, number: int) -> np.ndarray:
        return 10.0 * number + np.arange(K)[:, None]

    def answer(self) -> None:
        self.futures[-1].set_result(self.chunk(len(self.futures) - 1))

    def infer(self, observation) -> np.ndarray:
        self(observation)
        return self.chunk(len(self.futures) - 1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def act(runner: ChunkRunner) -> float:
    (value,) = runner.act(lambda: {"step": runner.step})
    return value


def started(server: Server, **options) -> ChunkRunner:
    """A runner whose question 0, answered at once, gave the plan 0, 1, 2, 3 from step 0 on."""
    first = Future()
    first.set_result(server.chunk(0))
    waiting = [first]
    options = {"every": 2, "when_late": Hold(kept=()), **options}
    runner = ChunkRunner(lambda obs: waiting.pop() if waiting else server(obs), **options)
    server.futures.append(first)
    runner.start({"step": 0})
    return runner


@pytest.mark.parametrize(
    "every, asked, actions",
    [
        (4, [0, 0, 4], [10, 11, 12, 13, 20, 21]),
        (2, [0, 0, 2, 4], [10, 11, 20, 21, 30, 31]),
        (1, [0, 0, 1, 2, 3, 4, 5], [10, 20, 30, 40, 50, 60]),
        (9, [0, 0, 4], [10, 11, 12, 13, 20, 21]),  # a chunk is only so long
    ],
)
def test_open_loop(every, asked, actions):
    server = Server()
    runner = ChunkRunner(immediate(server.infer), every=every, when_late=Hold(kept=()))
    runner.start({"step": 0})
    runner.start({"step": 0})  # a new episode forgets the plan before
    assert [act(runner) for _ in range(6)] == actions
    assert server.asked == asked


def test_temporal_ensembling_averages_all_plans_for_a_step():
    server = Server()
    runner = ChunkRunner(
        immediate(server.infer), every=1, when_late=Hold(kept=()), combine=Ensemble(decay=0)
    )
    runner.start({"step": 0})
    # Step 1: plans 0 and 1 say 1 and 10. Step 2: 2, 11, 20. Step 4: 13, 22, 31, 40; plan 0 is over.
    assert [act(runner) for _ in range(5)] == pytest.approx([0, 5.5, 11, 16.5, 26.5])


def test_a_late_chunk_starts_at_the_step_it_arrives():
    server = Server()
    runner = started(server, every=2)
    assert [act(runner), act(runner)] == [0, 1]
    assert act(runner) == 2 and server.asked == [2]  # asks at step 2 and goes on with plan 0
    server.answer()
    assert act(runner) == 11  # asked at 2, used from 3: its first action is past
    assert runner.delay == 1
    assert act(runner) == 12 and server.asked == [2, 4]


def test_one_question_at_a_time():
    server = Server()
    runner = started(server, every=1)
    for _ in range(4):
        act(runner)
    assert server.asked == [1]


def test_without_a_plan_it_holds_then_stops():
    server, clock = Server(), Clock()
    runner = started(server, every=2, when_late=Hold(kept=(), patience=0.5), clock=clock)
    seen = []
    for _ in range(6):
        seen.append(act(runner))
        clock.now += 0.25
    assert seen == [0, 1, 2, 3, 0, 0]  # plans ran out at step 4, 0.5 s ago
    with pytest.raises(ServerLate, match="0.50"):
        act(runner)


def test_it_recovers_and_then_has_patience_again():
    server, clock = Server(), Clock()
    runner = started(server, every=2, when_late=Hold(kept=(), patience=0.3), clock=clock)
    assert [act(runner) for _ in range(5)] == [0, 1, 2, 3, 0]
    server.answer()  # asked at step 2, now at 5: its last action
    clock.now += 10
    assert act(runner) == 13
    assert act(runner) == 0


def test_an_answer_too_late_for_any_step_is_of_no_use():
    server = Server()
    runner = started(server, every=2)
    for _ in range(6):
        act(runner)
    server.answer()  # for steps 2 to 5; this is 6
    assert act(runner) == 0
    assert server.asked == [2, 6]


def test_failures_that_pass_are_asked_again():
    server, clock = Server(), Clock()
    runner = started(server, every=2, when_late=Hold(kept=(), patience=0), clock=clock)
    assert [act(runner) for _ in range(3)] == [0, 1, 2]
    server.futures[-1].set_exception(ServingError("busy", "too many requests"))
    assert act(runner) == 3
    assert server.asked == [2, 3] and runner.failures == 1
    server.futures[-1].set_exception(ServingError("busy", "too many requests"))
    with pytest.raises(ServerLate) as late:
        act(runner)
    assert late.value.__cause__.code == "busy"


def test_a_refusal_for_good_is_raised():
    server = Server()
    runner = started(server, every=1)
    act(runner), act(runner)
    server.futures[-1].set_exception(ServingError("bad_observation", "state"))
    with pytest.raises(ServingError, match="bad_observation"):
        act(runner)


def test_nothing_is_observed_unless_asked():
    server = Server()
    runner = started(server, every=3)
    for _ in range(3):
        runner.act(lambda: pytest.fail("observed"))


def test_start_is_needed():
    runner = ChunkRunner(Server(), every=1, when_late=Hold(kept=()))
    with pytest.raises(ServerLate, match="start"):
        act(runner)


def test_background_asks_in_another_thread_and_ends():
    with Background(lambda observation: observation["step"] * np.ones((K, 1))) as ask:
        runner = ChunkRunner(ask, every=1, when_late=Hold(kept=()))
        runner.start({"step": 5}, timeout=10)
        assert act(runner) == 5
    with pytest.raises(RuntimeError):
        ask({"step": 0})
