"""Named mixtures: members, shares, exact resume, hosts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from semanticvla_jax.data import mixtures
from semanticvla_jax.data.check import check
from semanticvla_jax.data.checks.finding import Verdict
from semanticvla_jax.data.loading import open_training_data
from semanticvla_jax.data.order import ordered
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import LIBERO
from tests.data.tfds_writer import make_episode, write_dataset

SUITES = [name for name, _ in mixtures.MIXTURES["libero_4_task_suites"]]
LENGTHS = {suite: 11 + 4 * number for number, suite in enumerate(SUITES)}  # 4, 8, 12, 16 samples


@pytest.fixture(scope="module")
def suites(tmp_path_factory):
    """A directory with the four suites; state[0] of every step is the suite's number."""
    directory = tmp_path_factory.mktemp("suites")
    for number, suite in enumerate(SUITES):
        episode = make_episode(number, length=LENGTHS[suite])
        write_dataset(directory, [episode], name=suite, shards=1)
    return directory


def open_data(path, batch_size=20, seed=0, shard=(0, 1), **options):
    config = {"path": str(path), "image_size": 16, **options}
    return open_training_data(
        config, LIBERO, batch_size, seed, shard_index=shard[0], shard_count=shard[1]
    )


def suites_of(data, batches):
    """Which suite each sample is from, by its file."""
    names = [data.files[number] for number in range(batches)]
    return [name.split("/")[-1].split("-train")[0] for batch in names for name in batch]


def test_what_a_path_names(tmp_path):
    assert mixtures.members(tmp_path / "soup") == [(tmp_path / "soup", 1.0)]
    for suite in SUITES:
        (tmp_path / suite).mkdir()
    beside = mixtures.members(tmp_path / "libero_4_task_suites")
    assert beside == [(tmp_path / suite, 1.0) for suite in SUITES]
    inside = tmp_path / "libero_4_task_suites_no_noops"
    inside.mkdir()
    with pytest.raises(InputError, match=f"found no {', '.join(SUITES)} in "):
        mixtures.members(inside)


def test_a_missing_member_is_named(suites, tmp_path):
    for suite in SUITES[:2]:
        (tmp_path / suite).symlink_to(suites / suite)
    with pytest.raises(InputError, match="libero_4_task_suites: found no libero_goal.*, libero_10"):
        open_data(tmp_path / "libero_4_task_suites")


def test_a_mixture_can_be_checked(suites, tmp_path, capsys):
    check(suites / "libero_4_task_suites", LIBERO)
    printed = capsys.readouterr().out
    assert all(f"\n{suite}\n" in printed for suite in SUITES)
    (missing,) = check(tmp_path / "libero_4_task_suites", LIBERO)
    assert missing.verdict is Verdict.ERROR


def test_every_transition_is_as_likely_as_any_other(suites):
    data = open_data(suites / "libero_4_task_suites")
    assert list(data.statistics) == SUITES
    epoch = suites_of(data, 2)  # 40 samples
    assert [epoch.count(suite) for suite in SUITES] == [4, 8, 12, 16]


def test_weights_multiply_the_shares(suites):
    weights = (4.0, 1.0, 1.0, 0.5)  # shares 16 : 8 : 12 : 8
    data = open_data(suites / "libero_4_task_suites", weights=weights)
    found = suites_of(data, 11)  # 220 samples
    counts = [found.count(suite) for suite in SUITES]
    np.testing.assert_allclose(counts, [80, 40, 60, 40], atol=2)
    listed = ",".join(str(suites / suite) for suite in SUITES)
    assert suites_of(open_data(listed, weights=weights), 11) == found


def test_a_mixture_resumes_exactly_and_is_shared_among_hosts(suites):
    options = {"weights": (4.0, 1.0, 1.0, 0.5)}
    path = suites / "libero_4_task_suites"
    whole = list(itertools.islice(open_data(path, **options), 4))
    resumed = open_data(path, **options)
    resumed.set_state({"next_batch": 2})
    for batch, again in zip(whole[2:], resumed, strict=False):
        for key in batch:
            np.testing.assert_array_equal(batch[key], again[key])
    hosts = [open_data(path, shard=(host, 2), **options) for host in range(2)]
    for batch, *parts in zip(whole, *hosts, strict=False):
        for key in batch:
            joined = np.concatenate([part[key] for part in parts])
            np.testing.assert_array_equal(batch[key], joined)


def test_the_files_named_are_those_that_are_read(suites):
    data = open_data(suites / "libero_4_task_suites", batch_size=8)
    batch, files = data.batches[3], data.files[3]
    prompts = {suite: make_episode(n)["instruction"] for n, suite in enumerate(SUITES)}
    for row, file in enumerate(files):
        suite = next(suite for suite in SUITES if f"{suite}-train" in file)
        expected = data.tokenizer.prompt(prompts[suite])
        np.testing.assert_array_equal(batch["prompt_ids"][row], expected)


def test_a_small_source_is_not_exhausted_by_its_weight():
    order = ordered([range(2), range(100)], seed=0, weights=(50.0, 1.0))
    drawn = [order[place] for place in range(200)]
    assert drawn.count(0) == pytest.approx(50, abs=3)
    with pytest.raises(InputError, match="2 positive numbers"):
        ordered([range(2), range(3)], seed=0, weights=(1.0, 0.0))
