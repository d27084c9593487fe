"""Which steps start a chunk, and what a sample holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semanticvla_jax.data import chunks
from semanticvla_jax.data.normalization import DatasetStatistics
from semanticvla_jax.data.rlds import open_dataset
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import LIBERO
from semanticvla_jax.text.tokenizers import PromptTokenizer
from tests.data.tfds_writer import make_episode, write_dataset


def source_of(version, tail, episodes=None):
    dataset = open_dataset(version, LIBERO)
    statistics = DatasetStatistics.of(
        LIBERO, dataset.states, dataset.actions, dataset.episode_count
    )
    episodes = range(dataset.episode_count) if episodes is None else episodes
    return chunks.ChunkSource.of(dataset, episodes, statistics, LIBERO, PromptTokenizer(), tail)


def test_released_tail_starts_no_incomplete_chunk(tiny_dataset):
    source = source_of(tiny_dataset, chunks.complete_chunks)
    assert len(source) == 5 * (12 - 7)
    assert source.frame[:6].tolist() == [0, 1, 2, 3, 4, 12]
    last = source[4]["actions"]
    np.testing.assert_array_equal(last, source.actions[4:12])


def test_repeated_tail_stays_in_its_episode(tiny_dataset):
    source = source_of(tiny_dataset, chunks.repeat_last, episodes=[1])
    assert len(source) == 12
    actions = source[10]["actions"]  # steps 10, 11, then 11 again
    np.testing.assert_array_equal(actions[0], source.actions[22])
    np.testing.assert_array_equal(actions[1:], np.tile(source.actions[23], (7, 1)))


def test_a_sample_belongs_together(tiny_dataset):
    """Episode 1 (second shard, first there) is the fourth in file order."""
    source = source_of(tiny_dataset, chunks.complete_chunks)
    sample, episode = source[15 + 2], make_episode(1)
    assert source.dataset.states[source.frame[17], :2].tolist() == [1, 2]
    gripper = 1 - np.clip(episode["action"][2:10, 6], 0, 1)
    np.testing.assert_array_equal(sample["actions"][:, 6], gripper)  # 1 = open, not normalised
    assert np.abs(sample["actions"]).max() <= 1 and np.abs(sample["state"]).max() <= 1
    text = PromptTokenizer().encode(episode["instruction"])
    for key in ("prompt_ids", "prompt_mask", "text_ids"):
        np.testing.assert_array_equal(sample[key], text[key])
    assert sample["jpegs"] == source.dataset.jpegs(36 + 2)


def test_episodes_too_short_to_learn_from(tmp_path):
    version = write_dataset(tmp_path, [make_episode(0, length=7)], shards=1)
    with pytest.raises(InputError, match="longest of 7 steps, expected an episode of at least 8"):
        source_of(version, chunks.complete_chunks)
    assert len(source_of(version, chunks.repeat_last)) == 7


@given(st.integers(0, 100), st.integers(0, 15))
def test_every_episode_is_trained_on_or_held_out(count, every):
    training, validation = chunks.split_episodes(count, every)
    assert sorted([*training, *validation]) == list(range(count))
    assert len(validation) == (count // every if every else 0)


def test_unknown_tail_lists_the_choices():
    with pytest.raises(InputError, match="complete_chunks"):
        chunks.find_tail("pad")
