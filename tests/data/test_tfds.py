"""Datasets written by TensorFlow Datasets itself are read without it, number for number."""

from __future__ import annotations

import importlib.util
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from semanticvla_jax.data import images
from semanticvla_jax.data.loading import open_training_data
from semanticvla_jax.data.rlds import open_datasets
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import LIBERO

WRITE = """
import sys
import numpy as np
import tensorflow_datasets as tfds

F = tfds.features
image = lambda: F.Image(shape=(32, 32, 3), dtype=np.uint8, encoding_format="jpeg")
observation = {
    "image": image(), "wrist_image": image(),
    "state": F.Tensor(shape=(8,), dtype=np.float32),
    "joint_state": F.Tensor(shape=(7,), dtype=np.float32),
}
step = {
    "observation": F.FeaturesDict(observation),
    "action": F.Tensor(shape=(7,), dtype=np.float32),
    "discount": F.Scalar(dtype=np.float32), "reward": F.Scalar(dtype=np.float32),
    "is_first": F.Scalar(dtype=np.bool_), "is_last": F.Scalar(dtype=np.bool_),
    "is_terminal": F.Scalar(dtype=np.bool_), "language_instruction": F.Text(),
}

class LiberoGoalNoNoops(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = None

    def _info(self):
        metadata = F.FeaturesDict({"file_path": F.Text()})
        features = {"steps": F.Dataset(step), "episode_metadata": metadata}
        return tfds.core.DatasetInfo(builder=self, features=F.FeaturesDict(features))

    def _split_generators(self, _):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for episode in range(3):
            rng = np.random.default_rng(episode)
            steps = [dict(
                observation=dict(
                    image=np.full((32, 32, 3), 10 * n, np.uint8),
                    wrist_image=np.full((32, 32, 3), 50 + 10 * episode, np.uint8),
                    state=np.full(8, episode, np.float32),
                    joint_state=np.zeros(7, np.float32)),
                action=rng.normal(size=7).astype(np.float32), discount=1.0, reward=0.0,
                is_first=n == 0, is_last=n == 8, is_terminal=n == 8,
                language_instruction=f"task {episode}") for n in range(9)]
            yield str(episode), {"steps": steps, "episode_metadata": {"file_path": ""}}

for file_format in ("array_record", "tfrecord"):
    data_dir = sys.argv[1] + "/" + file_format
    builder = LiberoGoalNoNoops(data_dir=data_dir, file_format=file_format)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))
read = [list(e["steps"]) for e in tfds.as_numpy(builder.as_dataset("train"))]
np.savez(sys.argv[1] + "/expected.npz",
    state=[s["observation"]["state"] for e in read for s in e],
    action=[s["action"] for e in read for s in e],
    image=[s["observation"]["image"] for e in read for s in e],
    wrist_image=[s["observation"]["wrist_image"] for e in read for s in e],
    instruction=[e[0]["language_instruction"].decode() for e in read])
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    if importlib.util.find_spec("tensorflow_datasets") is None:
        pytest.skip("needs tensorflow-datasets")
    directory = tmp_path_factory.mktemp("tfds")
    command = [sys.executable, "-c", WRITE, str(directory)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return directory


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_what_tfds_writes_is_what_we_read(written, file_format):
    expected = np.load(written / "expected.npz")
    (dataset,) = open_datasets(written / file_format, LIBERO)
    assert dataset.name == "libero_goal_no_noops"
    assert {file.path.name.split(".")[1].split("-")[0] for file in dataset.files} == {file_format}
    assert dataset.episode_start.tolist() == [0, 9, 18, 27]
    assert dataset.instructions == tuple(expected["instruction"])
    np.testing.assert_array_equal(dataset.states, expected["state"])
    np.testing.assert_array_equal(dataset.actions, expected["action"])
    for frame in range(27):
        main, wrist = map(images.decode_jpeg, dataset.jpegs(frame))
        np.testing.assert_array_equal(main, expected["image"][frame])
        np.testing.assert_array_equal(wrist, expected["wrist_image"][frame])


def test_both_file_formats_give_the_same_batches(written):
    batches = []
    for file_format in ("tfrecord", "array_record"):
        config = {"path": str(written / file_format), "image_size": 16}
        data = open_training_data(config, LIBERO, 3, seed=0)
        batches.append(pickle.loads(pickle.dumps(data.batches))[0])
    assert batches[0].keys() == batches[1].keys()
    for key, values in batches[0].items():
        np.testing.assert_array_equal(values, batches[1][key], err_msg=key)


def test_a_damaged_array_record_is_named(written, tmp_path):
    version = shutil.copytree(written / "array_record/libero_goal_no_noops/1.0.0", tmp_path / "1")
    path = sorted(version.glob("*.array_record-*"))[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"(record|file) .*{path.name}"):
        open_datasets(version, LIBERO)
