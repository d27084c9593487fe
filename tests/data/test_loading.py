"""The stream of batches: contents, determinism, sharding, resuming, mixing."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
from ml_collections import ConfigDict

from semanticvla_jax.data.loading import open_training_data
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import LIBERO
from tests.data.tfds_writer import make_episode, write_dataset


def open_data(path, batch_size=4, seed=0, shard=(0, 1), **options):
    config = ConfigDict({"path": str(path), "image_size": 16, **options})
    return open_training_data(
        config, LIBERO, batch_size, seed, shard_index=shard[0], shard_count=shard[1]
    )


def take(data, count):
    return list(itertools.islice(iter(data), count))


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key], err_msg=key)


def starts(batches):
    """Identifies samples by their first action and state."""
    return [
        (*action[0].tolist(), *state.tolist())
        for batch in batches
        for action, state in zip(batch["actions"], batch["state"], strict=True)
    ]


def test_a_batch_has_the_agreed_entries(tiny_dataset):
    data = open_data(tiny_dataset)
    (batch,) = data.peek()
    shapes = {key: (value.dtype.name, value.shape) for key, value in batch.items()}
    assert shapes == {
        "images": ("uint8", (4, 2, 16, 16, 3)),
        "state": ("float32", (4, 8)),
        "actions": ("float32", (4, 8, 7)),
        "prompt_ids": ("int32", (4, data.tokenizer.prompt_length)),
        "prompt_mask": ("bool", (4, data.tokenizer.prompt_length)),
        "text_ids": ("int32", (4, data.tokenizer.text_length)),
    }
    assert data.get_state() == {"next_batch": 0}
    assert_same([batch], take(data, 1))
    assert list(data.statistics) == ["libero_object_no_noops"]
    assert data.description.startswith("libero_object_no_noops: 5 episodes, 60 steps, 2 instruct")


def test_batches_depend_on_seed_and_number_alone(tiny_dataset):
    batches = take(open_data(tiny_dataset), 6)
    assert_same(batches, take(open_data(tiny_dataset, threads=1), 6))
    assert starts(batches) != starts(take(open_data(tiny_dataset, seed=1), 6))


def test_every_epoch_shows_every_sample_once_in_a_new_order(tiny_dataset):
    data = open_data(tiny_dataset, batch_size=5)  # 25 samples = 5 batches
    first, second = starts(take(data, 5)), starts(take(data, 5))
    assert len(set(first)) == 25 and set(first) == set(second) and first != second


@pytest.mark.parametrize("done", [0, 3, 7])
def test_resuming_repeats_nothing_and_loses_nothing(tiny_dataset, done):
    whole = take(open_data(tiny_dataset), 10)
    interrupted = open_data(tiny_dataset)
    take(interrupted, done)
    state = json.loads(json.dumps(interrupted.get_state()))
    resumed = open_data(tiny_dataset)
    resumed.set_state(state)
    assert_same(whole[done:], take(resumed, 10 - done))


def test_hosts_share_every_batch(tiny_dataset):
    whole = take(open_data(tiny_dataset, batch_size=4), 5)
    shards = [take(open_data(tiny_dataset, batch_size=4, shard=(k, 2)), 5) for k in range(2)]
    for batch, *parts in zip(whole, *shards, strict=True):
        for key in batch:
            joined = np.concatenate([part[key] for part in parts])
            np.testing.assert_array_equal(joined, batch[key])
    with pytest.raises(InputError, match="4 on 3 hosts"):
        open_data(tiny_dataset, batch_size=4, shard=(0, 3))


def test_a_mixture_is_uniform_over_transitions_unless_weighted(tmp_path):
    write_dataset(tmp_path, [make_episode(0, length=15)], name="short", shards=1)  # 8 samples
    write_dataset(tmp_path, [make_episode(1, length=31)], name="long", shards=1)  # 24 samples
    data = open_data(tmp_path, batch_size=32)
    (epoch,) = take(data, 1)
    assert len(set(starts([epoch]))) == 32
    assert list(data.statistics) == ["long", "short"]
    paths = f"{tmp_path}/short,{tmp_path}/long"
    weighted = open_data(paths, batch_size=32, weights=(3.0, 1.0))
    stove = weighted.tokenizer.prompt("turn on the stove")
    prompts = np.concatenate([batch["prompt_ids"] for batch in take(weighted, 4)])
    assert (prompts == stove).all(1).sum() == pytest.approx(64, abs=1)  # 24 of 24 + 24
    with pytest.raises(InputError, match="2 positive numbers"):
        open_data(tmp_path, weights=(1.0,))


def test_each_dataset_is_normalised_by_its_own_statistics(tmp_path):
    small, large = make_episode(0), make_episode(1)
    small["action"][:, :6] *= 0.01
    write_dataset(tmp_path, [small], name="small", shards=1)
    write_dataset(tmp_path, [large], name="large", shards=1)
    data = open_data(tmp_path, batch_size=10)
    (batch,) = data.peek()
    stove = (batch["prompt_ids"] == data.tokenizer.prompt("turn on the stove")).all(1)
    spans = [np.ptp(batch["actions"][of][..., :6], (0, 1)) for of in (stove, ~stove)]
    assert all((span > 1.5).all() for span in spans)


def test_held_out_episodes_are_never_trained_on(tiny_dataset):
    data = open_data(tiny_dataset, validation_every=5, batch_size=20)
    (epoch,), (held_out,) = take(data, 1), data.validation_batches(1, 5)
    assert len(set(starts([epoch]))) == 20 and len(set(starts([held_out]))) == 5
    assert not set(starts([epoch])) & set(starts([held_out]))
    assert_same([held_out], data.validation_batches(1, 5))
    with pytest.raises(InputError, match="no held-out episode"):
        next(open_data(tiny_dataset, validation_every=6).validation_batches(1, 5))


def test_the_blind_baseline_sees_grey_and_all_else(tiny_dataset):
    (blind,), (sighted,) = (
        open_data(tiny_dataset, cameras="blank").peek(),
        open_data(tiny_dataset).peek(),
    )
    assert (blind["images"] == 128).all() and blind["images"].shape == sighted["images"].shape
    assert starts([blind]) == starts([sighted])
    rollout = open_data(tiny_dataset, cameras="blank").transform.rollout
    assert (rollout(np.zeros((64, 64, 3), np.uint8)) == 128).all()


def test_training_and_rollout_agree_without_augmentation(tiny_dataset):
    """A stored frame through the training path equals its decoded image through the rollout."""
    data = open_data(
        tiny_dataset, crop_area=1.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0
    )
    transform = data.transform
    image = make_episode(0)["images"][3, 0]
    from semanticvla_jax.data.images import encode_jpeg

    trained = transform.training(encode_jpeg(image), np.random.default_rng(0))
    np.testing.assert_array_equal(trained, transform.rollout(image))
    np.testing.assert_array_equal(trained, transform.validation(encode_jpeg(image)))


def test_bad_options(tiny_dataset):
    with pytest.raises(InputError, match="unknown entries .*image_sise"):
        open_data(tiny_dataset, image_sise=3)
    with pytest.raises(InputError, match="no path"):
        open_data("")
    with pytest.raises(InputError, match="'closed', expected one of .*blank"):
        open_data(tiny_dataset, cameras="closed")
    with pytest.raises(InputError, match="every dataset once"):
        open_data(f"{tiny_dataset},{tiny_dataset}")
    with pytest.raises(InputError, match="raise config.data.prompt_length"):
        open_data(tiny_dataset, prompt_length=8)


WORKERS = """
import multiprocessing
import os
import signal
import sys
import numpy as np
from absl import flags
from ml_collections import ConfigDict
from semanticvla_jax.data.loading import open_training_data
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import LIBERO

def open_at(position, workers):
    config = ConfigDict({"path": sys.argv[1], "image_size": 16, "workers": workers})
    data = open_training_data(config, LIBERO, 4, 0)
    data.set_state({"next_batch": position})
    return data

if __name__ == "__main__":
    flags.FLAGS.mark_as_parsed()
    there = iter(open_at(2, workers=2))
    for here, _ in zip(open_at(2, workers=0), range(3)):
        batch = next(there)
        assert all(np.array_equal(here[key], batch[key]) for key in here)
    assert "tensorflow" not in sys.modules and "torch" not in sys.modules
    print("same", flush=True)
    multiprocessing.active_children()[0].kill()
    try:
        for _ in range(1000):
            next(there)
    except InputError as error:
        print(error)
    there = iter(open_at(0, workers=2))
    next(there)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def printed_with_workers(tiny_dataset, tmp_path_factory):
    script = tmp_path_factory.mktemp("workers") / "workers.py"
    script.write_text(WORKERS)
    command = [sys.executable, str(script), str(tiny_dataset)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert finished.returncode == -signal.SIGKILL, finished.stderr
    return finished.stdout.splitlines()


def test_worker_processes_change_nothing_and_nobody_imports_tensorflow(printed_with_workers):
    assert printed_with_workers[0] == "same"


def test_a_killed_worker_is_an_error_that_names_the_files(printed_with_workers):
    assert len(printed_with_workers) == 3
    message = printed_with_workers[1]
    assert message.startswith("training data, batch ") and "exit code -9" in message
    assert message.count("libero_object_no_noops-train.tfrecord-0000") in (1, 2)


def test_workers_end_when_the_training_process_is_killed(printed_with_workers):
    workers = [int(pid) for pid in printed_with_workers[2].split()]
    assert len(workers) >= 2
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in workers if psutil.pid_exists(pid)], 30
    )
    assert not alive
