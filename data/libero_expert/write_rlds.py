"""Writes staged episodes as a TFDS/RLDS dataset. Run as a process of its own:

    python -m data.libero_expert.write_rlds ORDER.json

The only module that imports TensorFlow; it must never share a process with the simulator.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data.libero_expert.episode import Episode

EPISODES_PER_SHARD = 8
LARGEST_SHARD_COUNT = 32
REPOSITORY = Path(__file__).resolve().parents[2]
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}


@dataclass(frozen=True)
class Order:
    """What to write: `episodes` are staged files, in order; `directory` gets name/1.0.0/."""

    name: str
    image_size: int
    episodes: tuple[str, ...]
    directory: str
    description: str

    @property
    def shards(self) -> int:
        wanted = -(-len(self.episodes) // EPISODES_PER_SHARD)
        return min(wanted, LARGEST_SHARD_COUNT)


def write_in_own_process(order: Order) -> None:
    """Writes the dataset in a fresh process, which dies with this one.

    Raises: RuntimeError with its last words if it fails.
    """
    path = Path(order.directory) / "order.json"
    path.write_text(json.dumps(dataclasses.asdict(order)))
    search_path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    read_end, write_end = os.pipe()  # closed by the system when this process ends
    try:
        finished = subprocess.run(
            [sys.executable, "-m", __name__, str(path)],
            env={**os.environ, **QUIET, "PYTHONPATH": search_path},
            stdin=read_end,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(read_end)
        os.close(write_end)
    path.unlink(missing_ok=True)
    if finished.returncode:
        raise RuntimeError(
            f"writing the dataset failed (exit code {finished.returncode}):\n"
            f"{finished.stderr[-4000:]}"
        )


def write(order: Order) -> None:
    """Writes `directory`/name/1.0.0 with split `train`. Equal orders give equal files."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    _serialize_deterministically()
    builder = _builder_class(order)(data_dir=order.directory)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            num_shards=order.shards, try_download_gcs=False
        )
    )


def _serialize_deterministically() -> None:
    """Sorts the fields of every record; tfds leaves them in an order that varies by process."""
    from tensorflow_datasets.core import example_serializer

    def serialize_example(self, example) -> bytes:
        return self.get_tf_example(example).SerializeToString(deterministic=True)

    example_serializer.ExampleSerializer.serialize_example = serialize_example


def _builder_class(order: Order):
    import tensorflow_datasets as tfds

    class LiberoExpert(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = order.name
        VERSION = tfds.core.Version("1.0.0")
        RELEASE_NOTES = {"1.0.0": "Demonstrations of the scripted expert."}
        pkg_dir_path = None

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self, features=features(order.image_size), description=order.description
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for path in order.episodes:
                episode = Episode.from_bytes(Path(path).read_bytes())
                yield episode.source, example(episode)

    return LiberoExpert


def features(image_size: int):
    """The feature spec of the public `libero_*_no_noops` datasets, at any image size."""
    import numpy as np
    from tensorflow_datasets import features as tfds_features

    def camera(doc: str):
        return tfds_features.Image(
            shape=(image_size, image_size, 3), dtype=np.uint8, encoding_format="jpeg", doc=doc
        )

    def vector(size: int, doc: str):
        return tfds_features.Tensor(shape=(size,), dtype=np.float32, doc=doc)

    def scalar(dtype, doc: str):
        return tfds_features.Scalar(dtype=dtype, doc=doc)

    step = {
        "observation": tfds_features.FeaturesDict(
            {
                "image": camera("Main camera, rotated by 180 degrees."),
                "wrist_image": camera("Wrist camera, rotated by 180 degrees."),
                "state": vector(8, "End effector: xyz (m), axis-angle (rad), two fingers (m)."),
                "joint_state": vector(7, "Arm joint angles (rad)."),
            }
        ),
        "action": vector(7, "xyz and rotation deltas in [-1, 1]; gripper -1 opens, +1 closes."),
        "discount": scalar(np.float32, "Always 1."),
        "reward": scalar(np.float32, "1 on the last step, else 0."),
        "is_first": scalar(np.bool_, "True on the first step of the episode."),
        "is_last": scalar(np.bool_, "True on the last step of the episode."),
        "is_terminal": scalar(np.bool_, "True on the last step: every demonstration succeeds."),
        "language_instruction": tfds_features.Text(doc="The task in words."),
    }
    metadata = {"file_path": tfds_features.Text(doc="Suite, task, attempt and seed.")}
    return tfds_features.FeaturesDict(
        {
            "steps": tfds_features.Dataset(step),
            "episode_metadata": tfds_features.FeaturesDict(metadata),
        }
    )


def example(episode: Episode) -> dict:
    """The episode as nested values of `features`; images stay the JPEG bytes they are."""
    return {
        "steps": list(steps(episode)),
        "episode_metadata": {"file_path": episode.source},
    }


def steps(episode: Episode) -> Iterator[dict]:
    last = len(episode) - 1
    per_step: Iterable = zip(
        episode.image,
        episode.wrist_image,
        episode.state,
        episode.joint_state,
        episode.action,
        strict=True,
    )
    for index, (image, wrist_image, state, joint_state, action) in enumerate(per_step):
        yield {
            "observation": {
                "image": image,
                "wrist_image": wrist_image,
                "state": state,
                "joint_state": joint_state,
            },
            "action": action,
            "discount": 1.0,
            "reward": float(index == last),
            "is_first": index == 0,
            "is_last": index == last,
            "is_terminal": index == last,
            "language_instruction": episode.instruction,
        }


def _die_with_parent() -> None:
    """Ends this process when standard input, a pipe that the parent holds, is closed."""

    def wait_for_the_end() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=wait_for_the_end, daemon=True).start()


if __name__ == "__main__":
    _die_with_parent()
    with open(sys.argv[1]) as order_file:
        fields = json.load(order_file)
    write(Order(**{**fields, "episodes": tuple(fields["episodes"])}))
