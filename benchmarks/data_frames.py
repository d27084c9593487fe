"""A synthetic dataset in the public LIBERO layout, as large as a benchmark of the input needs.

Frames are drawn, not rendered: shaded, textured planes with a few solid objects, 21 to 23 kB as
JPEG. A pool of distinct ones is dealt out at random. TFDS writes an eighth of the dataset and its
files are copied, so that files and memory have their real sizes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from data.demonstrations import Demonstration, write_dataset
from semanticvla_jax.data.images import encode_jpeg
from semanticvla_jax.robots import LIBERO

NAME = "benchmark_no_noops"
SIZE = 256
STEPS = 125  # of an episode
COPIES = 8
INSTRUCTIONS = tuple(f"pick up object {number} and place it in the basket" for number in range(10))


def draw_frame(rng: np.random.Generator) -> np.ndarray:
    """uint8[SIZE, SIZE, 3]: a wall and a table with grain, light from one side, ten objects."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    grain = np.sin(2 * np.pi * (rows * rng.uniform(20, 40) + rng.uniform(1, 3) * columns**2))
    wall = rows < rng.uniform(0.3, 0.5)
    base = np.where(wall[..., None], rng.uniform(140, 230, 3), rng.uniform(60, 180, 3))
    picture = base + (6 * grain * ~wall)[..., None] + (40 * (columns - 0.5))[..., None]
    canvas = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for _ in range(10):
        left, top = rng.integers(0, SIZE - 40, 2)
        width, height = rng.integers(12, 70, 2)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        box = [left, top, left + width, top + height]
        shape([int(value) for value in box], fill=tuple(rng.integers(20, 240, 3).tolist()))
    noise = rng.normal(0, 2.5, (SIZE, SIZE, 1))
    return np.clip(np.asarray(canvas) + noise, 0, 255).astype(np.uint8)


def demonstrations(frames: int, distinct: int, seed: int = 0) -> Iterator[Demonstration]:
    """Episodes of `STEPS` steps, together at least `frames`, from a pool of `distinct` images."""
    rng = np.random.default_rng(seed)
    pool = [encode_jpeg(draw_frame(rng)) for _ in range(distinct)]
    for episode in range(-(-frames // STEPS)):
        action = rng.uniform(-1, 1, (STEPS, LIBERO.action_size)).astype(np.float32)
        action[:, 6] = np.where(np.arange(STEPS) < STEPS // 2, -1, 1)
        yield Demonstration(
            images={
                key: [pool[index] for index in rng.integers(0, distinct, STEPS)]
                for key in LIBERO.camera_names
            },
            states=rng.uniform(-1, 1, (STEPS, LIBERO.state_size)).astype(np.float32),
            actions=action,
            instruction=INSTRUCTIONS[episode % len(INSTRUCTIONS)],
            source=f"episode {episode}",
        )


def write(out: Path, frames: int, distinct: int = 256) -> Path:
    """Writes the dataset into `out`; returns its version directory."""
    version = write_dataset(demonstrations(frames // COPIES, distinct), NAME, LIBERO, out)
    _multiply(version)
    return version


def _multiply(version: Path) -> None:
    """Stores every shard `COPIES` times, as shards of its own."""
    declared = version / "dataset_info.json"
    info = json.loads(declared.read_text())
    (split,) = info["splits"]
    shards = sorted(version.glob("*.tfrecord-*"))
    lengths = split["shardLengths"] * COPIES
    for number in range(len(lengths)):
        stem = shards[number % len(shards)].name.rsplit("-", 3)[0]
        copy = version / f"{stem}-{number:05d}-of-{len(lengths):05d}"
        shutil.copyfile(shards[number % len(shards)], copy)
    for shard in shards:
        shard.unlink()
    split["shardLengths"], split["numBytes"] = lengths, str(int(split["numBytes"]) * COPIES)
    declared.write_text(json.dumps(info))
