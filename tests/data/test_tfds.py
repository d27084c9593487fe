"""Datasets written by TensorFlow Datasets itself are read without it, number for number."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from semanticvla_jax.data import images
from semanticvla_jax.data.rlds import open_datasets
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

builder = LiberoGoalNoNoops(data_dir=sys.argv[1])
builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))
read = [list(e["steps"]) for e in tfds.as_numpy(builder.as_dataset("train"))]
np.savez(sys.argv[1] + "/expected.npz",
    state=[s["observation"]["state"] for e in read for s in e],
    action=[s["action"] for e in read for s in e],
    image=[s["observation"]["image"] for e in read for s in e],
    wrist_image=[s["observation"]["wrist_image"] for e in read for s in e],
    instruction=[e[0]["language_instruction"].decode() for e in read])
"""


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_datasets") is None, reason="needs tensorflow-datasets"
)
def test_what_tfds_writes_is_what_we_read(tmp_path):
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    expected = np.load(tmp_path / "expected.npz")
    (dataset,) = open_datasets(tmp_path, LIBERO)
    assert dataset.name == "libero_goal_no_noops"
    assert dataset.episode_start.tolist() == [0, 9, 18, 27]
    assert dataset.instructions == tuple(expected["instruction"])
    np.testing.assert_array_equal(dataset.states, expected["state"])
    np.testing.assert_array_equal(dataset.actions, expected["action"])
    for frame in range(27):
        main, wrist = map(images.decode_jpeg, dataset.jpegs(frame))
        np.testing.assert_array_equal(main, expected["image"][frame])
        np.testing.assert_array_equal(wrist, expected["wrist_image"][frame])
