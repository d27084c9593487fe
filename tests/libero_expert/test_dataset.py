"""The written dataset, read back with tensorflow_datasets itself."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from data.libero_expert.files import UNFINISHED
from data.libero_expert.generate import fill
from data.libero_expert.staging import Staging
from data.libero_expert.write_rlds import QUIET
from semanticvla_jax.data import normalization
from semanticvla_jax.data.rlds import open_datasets
from semanticvla_jax.robots import LIBERO
from tests.libero_expert import fakes

NAME = "libero_object_no_noops"
EPISODES = 5

# Layout of the public datasets; there the images are 256 x 256.
IMAGE = ("uint8", (fakes.IMAGE_SIZE, fakes.IMAGE_SIZE, 3))
PUBLIC_LAYOUT = {
    "steps/observation/image": IMAGE,
    "steps/observation/wrist_image": IMAGE,
    "steps/observation/state": ("float32", (8,)),
    "steps/observation/joint_state": ("float32", (7,)),
    "steps/action": ("float32", (7,)),
    "steps/discount": ("float32", ()),
    "steps/reward": ("float32", ()),
    "steps/is_first": ("bool", ()),
    "steps/is_last": ("bool", ()),
    "steps/is_terminal": ("bool", ()),
    "steps/language_instruction": ("string", ()),
    "episode_metadata/file_path": ("string", ()),
}

READ_WITH_TFDS = """
import sys, pickle
import tensorflow_datasets as tfds
directory, name, target = sys.argv[1:]
builder = tfds.builder(name, data_dir=directory)
skip = tfds.decode.SkipDecoding()
decoders = {"steps": {"observation": {"image": skip, "wrist_image": skip}}}
episodes = []
for episode in builder.as_dataset(split="train", decoders=decoders):
    steps = [tfds.as_numpy(step) for step in episode["steps"]]
    episodes.append((episode["episode_metadata"]["file_path"].numpy().decode(), steps))
def walk(feature, prefix=""):
    if isinstance(feature, tfds.features.FeaturesDict):
        for key, inner in feature.items():
            yield from walk(inner, f"{prefix}{key}/")
    elif isinstance(feature, tfds.features.Dataset):
        yield from walk(feature.feature, prefix)
    else:
        kind = "string" if isinstance(feature, tfds.features.Text) else feature.numpy_dtype
        yield prefix[:-1], (str(getattr(kind, "__name__", kind)), tuple(feature.shape))
with open(target, "wb") as file:
    pickle.dump({"episodes": episodes, "layout": dict(walk(builder.info.features)),
                 "version": str(builder.version), "splits": list(builder.info.splits)}, file)
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A whole dataset of fake episodes: collected, written, described.

    What a run leaves that was killed while it wrote lies there already.
    """
    out = tmp_path_factory.mktemp("dataset")
    half = out / f"{UNFINISHED}999-dataset" / NAME / "1.0.0.incomplete"
    half.mkdir(parents=True)
    (half / f"{NAME}-train.tfrecord-00000-of-00002").write_bytes(b"half a reco")
    configuration = fakes.configuration(EPISODES)
    metadata = {
        "configuration": configuration.to_json(),
        "assets": {"kind": "generated", "digest": "0123456789ab"},
    }
    fill(configuration, out, 2, fakes.FakeRecorder, metadata)
    return out


@pytest.fixture(scope="module")
def read(directory, tmp_path_factory):
    target = tmp_path_factory.mktemp("read") / "read.pickle"
    subprocess.run(
        [sys.executable, "-c", READ_WITH_TFDS, str(directory), NAME, str(target)],
        env={**os.environ, **QUIET},
        check=True,
        capture_output=True,
    )
    return pickle.loads(target.read_bytes())


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """The episodes that must be in the dataset, by their source."""
    configuration = fakes.configuration(EPISODES)
    staging = Staging(tmp_path_factory.mktemp("again") / "staging", configuration)
    episodes = {}
    for task in configuration.tasks:
        attempts = [staging.attempt(task, number) for number in range(50)]
        lucky = [attempt for attempt in attempts if attempt.seed % 4][:EPISODES]
        episodes |= {e.source: e for e in map(fakes.fake_episode, lucky)}
    return episodes


def test_layout_is_that_of_the_public_datasets(read):
    assert read["layout"] == PUBLIC_LAYOUT
    assert read["version"] == "1.0.0" and read["splits"] == ["train"]


def test_values_are_those_recorded(read, staged):
    assert sorted(source for source, _ in read["episodes"]) == sorted(staged)
    for source, steps in read["episodes"]:
        episode = staged[source]
        assert len(steps) == len(episode)
        for index, step in enumerate(steps):
            observation = step["observation"]
            assert observation["image"] == episode.image[index], "JPEG bytes pass unchanged"
            assert observation["wrist_image"] == episode.wrist_image[index]
            np.testing.assert_array_equal(observation["state"], episode.state[index])
            np.testing.assert_array_equal(observation["joint_state"], episode.joint_state[index])
            np.testing.assert_array_equal(step["action"], episode.action[index])
            last = index == len(steps) - 1
            assert (step["is_first"], step["is_last"], step["is_terminal"]) == (
                index == 0, last, last,
            )  # fmt: skip
            assert step["reward"] == last and step["discount"] == 1
            assert step["language_instruction"].decode() == episode.instruction


def test_training_reads_it_without_tensorflow(directory, staged):
    (dataset,) = open_datasets(directory, LIBERO)
    assert dataset.name == NAME
    assert dataset.episode_count == len(staged)
    assert dataset.frame_count == sum(map(len, staged.values()))


def test_statistics_are_those_of_the_training_actions(directory, staged):
    statistics = normalization.load(directory / "dataset_statistics.json")[NAME]
    actions = np.concatenate([episode.action for episode in staged.values()])
    assert statistics.num_trajectories == 2 * EPISODES
    assert statistics.num_transitions == len(actions)
    np.testing.assert_allclose(statistics.action.q01[:6], np.quantile(actions[:, :6], 0.01, axis=0))
    opened = 1 - np.clip(actions[:, 6], 0, 1)
    np.testing.assert_allclose(statistics.action.mean[6], opened.mean(), rtol=1e-6)


def test_it_is_described(directory):
    metadata = json.loads((directory / "metadata.json").read_text())
    assert metadata["complete"] and metadata["episodes"] == 2 * EPISODES
    for task in metadata["tasks"]:
        assert task["attempts"] == task["episodes"] + len(task["failures"])
        assert all(failure["reason"] == "unlucky" for failure in task["failures"])
    readme = (directory / "README.md").read_text()
    assert "digest `0123456789ab`" in readme and "target +-6 cm, container +-3 cm" in readme
    with Image.open(directory / "contact_sheet.png") as sheet:
        assert sheet.width > 6 * 128
    left = {path.name for path in directory.iterdir()}
    assert left == {
        NAME, "README.md", "metadata.json", "dataset_statistics.json", "contact_sheet.png",
    }  # fmt: skip
