"""A plain tf.data/TFDS input pipeline of the kind OpenVLA trains with, to measure ours against.

Its order is that of `make_interleaved_dataset` in OpenVLA's prismatic/vla/datasets/rlds/dataset.py
on top of dlimp: TFDS episodes with their steps left encoded, repeated; chunked; flattened to
frames; `shuffle(buffer)`, so that the buffer holds *encoded* images; only then, with 16 parallel
calls, decoding and Lanczos-3 resizing, and with another 16 the augmentation (dlimp's
`augment_image`: crop, brightness, contrast, saturation, hue, clipped after each); a RAM budget of
1 GB for autotuned buffers. Left out, in its favour: all that follows (tokens, PyTorch's image
transforms). Added, in its favour: batches are prefetched.

For a process of its own: it imports TensorFlow, which nothing under `semanticvla_jax/` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from semanticvla_jax.robots import LIBERO

CALLS = 16  # `num_parallel_calls` of the frame transforms
CROP_AREA = 0.9
COLOURS = (
    lambda image, seed: tf.image.stateless_random_brightness(image, 0.2, seed),
    lambda image, seed: tf.image.stateless_random_contrast(image, 0.8, 1.2, seed),
    lambda image, seed: tf.image.stateless_random_saturation(image, 0.8, 1.2, seed),
    lambda image, seed: tf.image.stateless_random_hue(image, 0.05, seed),
)


def batches(
    version: Path, buffer: int, batch_size: int, size: int, augmentation: str
) -> Iterator[dict]:
    """Endless batches.

    Args:
      version: directory of the dataset.
      buffer: frames in the shuffle buffer, all of which are read before the first batch.
      batch_size: frames.
      size: pixels of the result.
      augmentation: "none", "crop" or "colour" (crop and colour).

    Yields:
      images uint8[B, I, size, size, 3], state f32[B, S], actions f32[B, K, A], instruction [B].
    """
    steps = {"none": (), "crop": (random_crop,), "colour": (random_crop, *COLOURS)}[augmentation]
    frames = episodes(version).repeat().map(chunks, num_parallel_calls=1)
    frames = frames.interleave(
        tf.data.Dataset.from_tensor_slices, cycle_length=1, num_parallel_calls=1
    )
    frames = frames.shuffle(buffer)
    frames = frames.map(lambda frame: decode_and_resize(frame, size), num_parallel_calls=CALLS)
    if steps:
        frames = frames.map(lambda frame: augment(frame, steps), num_parallel_calls=CALLS)
    options = tf.data.Options()
    options.autotune.enabled = True
    options.autotune.ram_budget = 1 << 30
    options.experimental_optimization.map_fusion = True
    prefetched = frames.batch(batch_size).prefetch(tf.data.AUTOTUNE).with_options(options)
    return prefetched.as_numpy_iterator()


def episodes(version: Path) -> tf.data.Dataset:
    """Episodes as dictionaries of stacked steps, images encoded."""
    builder = tfds.builder_from_directory(str(version))
    reading = tfds.ReadConfig(
        skip_prefetch=True, num_parallel_calls_for_interleave_files=1, interleave_cycle_length=1
    )
    dataset = builder.as_dataset(
        "train",
        shuffle_files=True,
        decoders={"steps": tfds.decode.SkipDecoding()},
        read_config=reading,
    )
    return dataset.map(lambda episode: episode["steps"], num_parallel_calls=1)


def chunks(steps: dict) -> dict:
    """Per frame the encoded images, the state and the K actions from it on."""
    chunk = LIBERO.chunk_length
    count = tf.shape(steps["action"])[0] - chunk + 1
    observation = steps["observation"]
    return {
        "jpegs": tf.stack([observation[key] for key in LIBERO.camera_names], 1)[:count],
        "state": observation[LIBERO.state_key][:count],
        "actions": tf.gather(steps["action"], tf.range(count)[:, None] + tf.range(chunk)),
        "instruction": steps["language_instruction"][:count],
    }


def decode_and_resize(frame: dict, size: int) -> dict:
    frame = dict(frame)
    encoded = tf.unstack(frame.pop("jpegs"), len(LIBERO.cameras))
    frame["images"] = tf.stack([resized(image, size) for image in encoded])
    return frame


def resized(encoded: tf.Tensor, size: int) -> tf.Tensor:
    image = tf.io.decode_image(encoded, expand_animations=False, dtype=tf.uint8)
    image = tf.image.resize(image, (size, size), method="lanczos3", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def augment(frame: dict, steps) -> dict:
    """Every image by the same operations with a seed of its own."""
    seed = tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
    images = []
    for number, image in enumerate(tf.unstack(frame["images"], len(LIBERO.cameras))):
        image = tf.image.convert_image_dtype(image, tf.float32)
        for step in steps:
            image = tf.clip_by_value(step(image, seed + number), 0, 1)
        images.append(tf.image.convert_image_dtype(image, tf.uint8, saturate=True))
    return {**frame, "images": tf.stack(images)}


def random_crop(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    side = np.sqrt(CROP_AREA).astype(np.float32)
    offset = tf.random.stateless_uniform([2], seed, 0, 1 - side)
    box = tf.concat([offset, offset + side], 0)[None]
    return tf.image.crop_and_resize(image[None], box, [0], tf.shape(image)[:2])[0]
