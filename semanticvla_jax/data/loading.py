"""Datasets to batches: a deterministic, shardable, resumable stream for the training loop.

A batch depends only on (datasets, options, seed, its number), never on threads, workers or
interruptions, so the number of the next batch is all there is to save.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grain
import numpy as np

from semanticvla_jax.data import chunks, mixtures, normalization
from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.data.normalization import DatasetStatistics
from semanticvla_jax.data.options import DataOptions
from semanticvla_jax.data.order import Share, ordered
from semanticvla_jax.data.sources import open_datasets
from semanticvla_jax.data.transforms import ImageTransform
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec
from semanticvla_jax.text.tokenizers import PromptTokenizer

Batch = dict[str, np.ndarray]
FILES_NAMED = 3


def open_training_data(
    config: Mapping[str, Any],
    robot: RobotSpec,
    batch_size: int,
    seed: int,
    *,
    shard_index: int = 0,
    shard_count: int = 1,
) -> TrainingData:
    """Opens the datasets that `config.data` names.

    Args:
      config: entries of `DataOptions`.
      robot: whose cameras, state and actions to read.
      batch_size: of all hosts together.
      seed: of order and augmentation.
      shard_index, shard_count: this host's share of every batch.

    Raises:
      InputError: missing, empty or damaged data, data of another robot, bad options.
    """
    options = DataOptions.of(config)
    if batch_size % shard_count:
        raise InputError(
            "batch size",
            found=f"{batch_size} on {shard_count} hosts",
            expected="a multiple of the number of hosts",
            fix="change config.batch_size",
        )
    datasets, weights = open_mixture(options.path, robot)
    _check_names(datasets)
    statistics = {
        dataset.name: DatasetStatistics.of(
            robot, dataset.states, dataset.actions, dataset.episode_count
        )
        for dataset in datasets
    }
    tokenizer, tail = options.tokenizer(), chunks.find_tail(options.tail)
    training, validation = [], []
    for dataset in datasets:
        numbers, held_out = chunks.split_episodes(dataset.episode_count, options.validation_every)
        of_dataset = (statistics[dataset.name], robot, tokenizer, tail)
        training.append(chunks.ChunkSource.of(dataset, numbers, *of_dataset))
        if len(held_out):
            validation.append(chunks.ChunkSource.of(dataset, held_out, *of_dataset))
    transform = options.image_transform()
    weights = options.weights or weights

    def share(samples: grain.MapDataset) -> Share:
        return Share(samples, shard_index, shard_count, batch_size)

    order = functools.partial(ordered, seed=seed, weights=weights)
    rows = share(order(training).random_map(chunks.TrainingSample(transform)))
    files = share(order(list(map(chunks.Files, training))))
    batching = functools.partial(
        grain.MapDataset.batch, batch_size=batch_size // shard_count, drop_remainder=True
    )
    return TrainingData(
        batches=batching(rows, batch_fn=chunks.stack),
        files=batching(files),
        validation=tuple(validation),
        transform=transform,
        tokenizer=tokenizer,
        statistics=normalization.to_json(statistics),
        description=_describe(datasets, sum(map(len, training))),
        camera_size=datasets[0].camera_size,
        threads=options.threads,
        workers=options.workers,
    )


def open_mixture(paths: str, robot: RobotSpec) -> tuple[list[EpisodeSource], tuple[float, ...]]:
    """Every dataset that the comma-separated paths name, and its weight."""
    datasets: list[EpisodeSource] = []
    weights: list[float] = []
    for path in paths.split(","):
        for member, weight in mixtures.members(path):
            found = open_datasets(member, robot)
            datasets += found
            weights += [weight] * len(found)
    return datasets, tuple(weights)


@dataclass
class TrainingData:
    """What the training loop needs of its data.

    Iterating continues at the current position, and moves it.

    Attributes:
      batches: endless sequence of this host's batches.
      files: of every batch, the file that each of its samples comes from.
      validation: sources of the held-out episodes.
      transform: of the images.
      tokenizer: of the instructions.
      statistics: of every dataset, in the layout of `dataset_statistics.json`.
      description: one line for people.
      camera_size: pixels of the stored images, at which to render at rollout.
      threads, workers: that prepare batches ahead.
      position: number of the next batch.
    """

    batches: grain.MapDataset = field(repr=False)
    files: grain.MapDataset = field(repr=False)
    validation: tuple[chunks.ChunkSource, ...] = field(repr=False)
    transform: ImageTransform
    tokenizer: PromptTokenizer
    statistics: dict[str, Any] = field(repr=False)
    description: str
    camera_size: int
    threads: int = 2
    workers: int = 0
    position: int = 0

    def __iter__(self) -> Iterator[Batch]:
        """Endless.

        Yields:
          images uint8[B, I, H, W, 3], state f32[B, S], actions f32[B, K, A], prompt_ids
          int32[B, P], prompt_mask bool[B, P], text_ids int32[B, M].

        Raises:
          InputError: a reader failed or a worker died; names the batch and the files it is in.
        """
        batches = iter(self._prefetched())
        while True:
            try:
                batch = next(batches)
            except InputError:
                raise
            except Exception as error:
                raise InputError(
                    f"training data, batch {self.position} in {self._files()}",
                    found=f"{type(error).__name__}: {error}",
                    expected="readable files and living workers",
                    fix="check those files and the machine's memory, or try config.data.workers=0; "
                    "rerunning continues from the last checkpoint",
                ) from error
            self.position += 1
            yield batch

    def _files(self) -> str:
        """Those of the next batch, for people."""
        names = sorted(set(self.files[self.position].tolist()))
        more = len(names) - FILES_NAMED
        return ", ".join(names[:FILES_NAMED]) + (f" and {more} more files" if more > 0 else "")

    def _prefetched(self) -> grain.IterDataset:
        ahead = self.batches[self.position :].to_iter_dataset(
            grain.ReadOptions(num_threads=self.threads, prefetch_buffer_size=2 * self.threads)
        )
        if self.workers:
            options = grain.MultiprocessingOptions(num_workers=self.workers)
            ahead = ahead.mp_prefetch(options, worker_init_fn=_end_with_parent)
        return ahead

    def peek(self) -> list[Batch]:
        """The next batch, alone in a list; the position stays."""
        return [self.batches[self.position]]

    def validation_batches(self, count: int, batch_size: int) -> Iterator[Batch]:
        """The same `count` batches of held-out episodes every time, images as at rollout.

        Raises:
          InputError: no episode is held out.
        """
        if not self.validation:
            raise InputError(
                "validation",
                found="no held-out episode",
                expected="at least one",
                fix="lower config.data.validation_every below the number of episodes",
            )
        samples = grain.MapDataset.concatenate(
            list(map(grain.MapDataset.source, self.validation))
        ).seed(0)
        batches = (
            samples.shuffle()
            .repeat()
            .map(chunks.ValidationSample(self.transform))
            .batch(batch_size, drop_remainder=True)
        )
        for number in range(count):
            yield batches[number]

    def get_state(self) -> dict[str, int]:
        """The position, as JSON."""
        return {"next_batch": self.position}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Continues at a saved position."""
        self.position = int(state["next_batch"])


def _end_with_parent(worker: int, workers: int) -> None:
    """In a worker: ends it soon after the training process, which may be killed, is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _check_names(datasets: Sequence[EpisodeSource]) -> None:
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise InputError(
            "config.data.path",
            found=f"datasets {', '.join(names)}",
            expected="every dataset once; names key their statistics",
            fix="remove or rename the double one",
        )


def _describe(datasets: Sequence[EpisodeSource], samples: int) -> str:
    episodes = sum(dataset.episode_count for dataset in datasets)
    steps = sum(dataset.frame_count for dataset in datasets)
    instructions = {text for dataset in datasets for text in dataset.instructions}
    return (
        f"{', '.join(dataset.name for dataset in datasets)}: {episodes:,} episodes, "
        f"{steps:,} steps, {len(instructions)} instructions, {samples:,} training samples"
    )
