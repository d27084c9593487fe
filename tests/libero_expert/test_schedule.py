from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.libero_expert.schedule import Schedule, TooFewSuccesses
from tests.libero_expert.fakes import configuration


def collect(outcome, episodes, workers, choose, survive):
    """Plays a collection with `workers` at once; `choose` picks who finishes next.

    Whenever `survive` says no, everything running is lost and a new schedule continues from what
    had finished.
    """
    finished: dict[tuple[int, int], bool] = {}
    schedule, running = Schedule(configuration(episodes), finished), []
    while not schedule.complete:
        while len(running) < workers and (started := schedule.start_next()) is not None:
            running.append(started)
        attempt = running.pop(choose(len(running)))
        finished[attempt] = outcome(attempt)
        schedule.finish(*attempt, finished[attempt])
        if not survive():
            schedule, running = Schedule(configuration(episodes), finished), []
    return finished


def shortest_prefixes(outcome, episodes):
    expected = {}
    for task in configuration(episodes).tasks:
        number = successes = 0
        while successes < episodes:
            expected[task, number] = outcome((task, number))
            successes += expected[task, number]
            number += 1
    return expected


@settings(deadline=None)
@given(data=st.data(), episodes=st.integers(1, 6), workers=st.integers(1, 5))
def test_the_dataset_depends_on_neither_workers_nor_interruptions(data, episodes, workers):
    luck = data.draw(st.lists(st.booleans(), min_size=30, max_size=30))

    def outcome(attempt):
        task, number = attempt
        return number >= 12 or luck[(task * 5 + number) % 30]

    finished = collect(
        outcome,
        episodes,
        workers,
        choose=lambda count: data.draw(st.integers(0, count - 1)),
        survive=lambda: data.draw(st.integers(0, 4)) > 0,
    )
    assert finished == shortest_prefixes(outcome, episodes)


def test_no_more_attempts_start_than_episodes_are_missing():
    schedule = Schedule(configuration(2, tasks=(0,)), {(0, 0): True, (0, 1): False})
    assert schedule.start_next() == (0, 2)
    assert schedule.start_next() is None
    schedule.finish(0, 2, success=False)
    assert schedule.start_next() == (0, 3)


def test_a_hopeless_task_stops_the_collection():
    schedule = Schedule(configuration(1, tasks=(0,)), {(0, n): False for n in range(15)})
    with pytest.raises(TooFewSuccesses, match="0 of 15 attempts"):
        schedule.start_next()


def test_seeds_differ_by_task_and_attempt_and_stay_the_same():
    wanted = configuration(1)
    seeds = {wanted.episode_seed(task, number) for task in range(10) for number in range(200)}
    assert len(seeds) == 2000
    assert wanted.episode_seed(0, 0) == configuration(9).episode_seed(0, 0)
