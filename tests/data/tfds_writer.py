"""Writes tiny TFDS datasets in the public LIBERO layout on the wire, without TensorFlow."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from semanticvla_jax.data.images import encode_jpeg
from semanticvla_jax.data.tfrecord import masked_crc32c

INSTRUCTIONS = ("pick up the milk and place it in the basket", "turn on the stove")


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def message(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def example(features: dict[str, list[bytes] | np.ndarray]) -> bytes:
    """A serialised tf.train.Example."""
    entries = b""
    for name, values in features.items():
        if isinstance(values, np.ndarray):
            feature = message(2, message(1, values.astype("<f4").tobytes()))
        else:
            feature = message(1, b"".join(message(1, value) for value in values))
        entries += message(1, message(1, name.encode()) + message(2, feature))
    return message(1, entries)


def record(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    crcs = (struct.pack("<I", masked_crc32c(part)) for part in (length, payload))
    return length + next(crcs) + payload + next(crcs)


def make_episode(number: int, length: int = 12, size: int = 32) -> dict:
    """Episode whose numbers tell where they come from: state[0] = episode, state[1] = step."""
    rng = np.random.default_rng(number)
    state = rng.normal(size=(length, 8)).astype(np.float32)
    state[:, 0], state[:, 1] = number, np.arange(length)
    action = rng.uniform(-1, 1, (length, 7)).astype(np.float32)
    action[:, 6] = np.where(np.arange(length) < length // 2, -1, 1)
    colours = rng.integers(0, 255, (length, 2, 4, 4, 3), dtype=np.uint8)
    images = colours.repeat(size // 4, 2).repeat(size // 4, 3)
    instruction = INSTRUCTIONS[number % 2]
    return {"state": state, "action": action, "images": images, "instruction": instruction}


def _serialise(episode: dict) -> bytes:
    images = episode["images"]
    observation = {
        "image": [encode_jpeg(frame[0]) for frame in images],
        "wrist_image": [encode_jpeg(frame[1]) for frame in images],
        "state": episode["state"].ravel(),
    }
    return example(
        {f"steps/observation/{name}": values for name, values in observation.items()}
        | {
            "steps/action": episode["action"].ravel(),
            "steps/language_instruction": [episode["instruction"].encode()] * len(images),
            "episode_metadata/file_path": [b"demo.hdf5"],
        }
    )


def features_json(size: tuple[int, ...], action: int = 7, state: int = 8) -> dict:
    def members(**features):
        return {"featuresDict": {"features": features}}

    def tensor(length):
        return {"tensor": {"shape": {"dimensions": [str(length)]}, "dtype": "float32"}}

    image = {"image": {"shape": {"dimensions": [str(n) for n in size]}, "encodingFormat": "jpeg"}}
    observation = members(image=image, wrist_image=image, state=tensor(state))
    step = members(observation=observation, action=tensor(action), language_instruction={})
    return members(steps={"sequence": {"feature": step}})


def write_dataset(
    root: Path,
    episodes: list[dict] | None = None,
    *,
    name: str = "libero_object_no_noops",
    shards: int = 2,
    declared_size: tuple[int, ...] | None = None,
) -> Path:
    """Writes `root/name/1.0.0` and returns it."""
    episodes = [make_episode(number) for number in range(5)] if episodes is None else episodes
    version = root / name / "1.0.0"
    version.mkdir(parents=True)
    parts = [episodes[shard::shards] for shard in range(shards)]
    for shard, part in enumerate(parts):
        path = version / f"{name}-train.tfrecord-{shard:05d}-of-{shards:05d}"
        path.write_bytes(b"".join(record(_serialise(episode)) for episode in part))
    split = {"name": "train", "shardLengths": [str(len(part)) for part in parts]}
    info = {"name": name, "version": "1.0.0", "fileFormat": "tfrecord", "splits": [split]}
    size = declared_size or (episodes[0]["images"].shape[2:] if episodes else (32, 32, 3))
    (version / "dataset_info.json").write_text(json.dumps(info))
    (version / "features.json").write_text(json.dumps(features_json(size)))
    return version
