"""Episodes cut into training samples: an observation and the K actions that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.data.normalization import DatasetStatistics
from semanticvla_jax.data.transforms import ImageTransform
from semanticvla_jax.errors import InputError, choose
from semanticvla_jax.robots import RobotSpec
from semanticvla_jax.text.tokenizers import PromptTokenizer

Tail = Callable[[int, int], int]


def complete_chunks(length: int, chunk: int) -> int:
    """Released code: the last K-1 steps of an episode start no chunk."""
    return max(length - chunk + 1, 0)


def repeat_last(length: int, chunk: int) -> int:
    """Every step starts a chunk; past the episode's end its last action repeats."""
    return length


TAILS: dict[str, Tail] = {"complete_chunks": complete_chunks, "repeat_last": repeat_last}


def find_tail(name: str) -> Tail:
    """Tail policy `(episode length, K) -> number of starts` by name.

    Raises:
      InputError: unknown name; lists the choices.
    """
    return choose(TAILS, name, "config.data.tail")


def split_episodes(count: int, validation_every: int) -> tuple[np.ndarray, np.ndarray]:
    """(training, validation) episode numbers; every n-th is held out, none if n is 0."""
    numbers = np.arange(count)
    if validation_every <= 0:
        return numbers, numbers[:0]
    held_out = numbers % validation_every == validation_every - 1
    return numbers[~held_out], numbers[held_out]


@dataclass(frozen=True)
class ChunkSource:
    """Random access to the samples of one dataset. Picklable; a grain source.

    A sample: jpegs (I byte strings), state f32[S] and actions f32[K, A] both normalised, and the
    instruction's ids.

    Attributes:
      dataset: where the JPEGs come from.
      frame: i64[n], the frame each sample starts at.
      last: i64[n], the last frame of its episode.
      states: f32[N, S] normalised.
      actions: f32[N, A] normalised.
      text: of each distinct instruction, its batch entries.
      text_index: i64[n], which of them.
      chunk_length: K.
    """

    dataset: EpisodeSource
    frame: np.ndarray
    last: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    text: tuple[dict[str, np.ndarray], ...]
    text_index: np.ndarray
    chunk_length: int

    @classmethod
    def of(
        cls,
        dataset: EpisodeSource,
        episodes: Iterable[int],
        statistics: DatasetStatistics,
        robot: RobotSpec,
        tokenizer: PromptTokenizer,
        tail: Tail,
    ) -> ChunkSource:
        """The samples of some episodes.

        Raises:
          InputError: none of the episodes is long enough, or an instruction is too long.
        """
        starts, ends = dataset.episode_start[:-1], dataset.episode_start[1:]
        distinct = sorted(set(dataset.instructions))
        frame, last, text_index = [], [], []
        for episode in episodes:
            count = tail(int(ends[episode] - starts[episode]), robot.chunk_length)
            frame.append(np.arange(starts[episode], starts[episode] + count))
            last.append(np.full(count, ends[episode] - 1))
            text_index.append(np.full(count, distinct.index(dataset.instructions[episode])))
        if not sum(map(len, frame)):
            raise InputError(
                f"dataset {dataset.name}",
                found=f"{len(frame)} episodes, the longest of {_longest(starts, ends)} steps",
                expected=f"an episode of at least {robot.chunk_length} steps to train on",
                fix="add longer episodes, or set config.data.tail=repeat_last",
            )
        normalisation = robot.normalisation
        return cls(
            dataset=dataset,
            frame=np.concatenate(frame),
            last=np.concatenate(last),
            states=statistics.proprio.bounds(normalisation)
            .normalize(dataset.states)
            .astype(np.float32),
            actions=statistics.action.bounds(normalisation)
            .normalize(robot.gripper.to_training(dataset.actions))
            .astype(np.float32),
            text=tuple(tokenizer.encode(instruction) for instruction in distinct),
            text_index=np.concatenate(text_index),
            chunk_length=robot.chunk_length,
        )

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, index: int) -> dict:
        frame = self.frame[index]
        steps = np.minimum(frame + np.arange(self.chunk_length), self.last[index])
        return {
            "jpegs": self.dataset.jpegs(frame),
            "state": self.states[frame],
            "actions": self.actions[steps],
            **self.text[self.text_index[index]],
        }


@dataclass(frozen=True)
class Files:
    """The file that each sample's images come from, in the order of its source."""

    source: ChunkSource

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> str:
        return str(self.source.dataset.file(self.source.frame[index]))


def _longest(starts: np.ndarray, ends: np.ndarray) -> int:
    return int(np.max(ends - starts, initial=0))


@dataclass(frozen=True)
class TrainingSample:
    """Sample -> one row for `stack`, its images augmented, each by draws of its own."""

    transform: ImageTransform

    def __call__(self, sample: dict, rng: np.random.Generator) -> dict:
        sample = dict(sample)
        sample["images"] = [self.transform.training(jpeg, rng) for jpeg in sample.pop("jpegs")]
        return sample


@dataclass(frozen=True)
class ValidationSample:
    """Sample -> one row of a batch, its images as at rollout."""

    transform: ImageTransform

    def __call__(self, sample: dict) -> dict[str, np.ndarray]:
        sample = dict(sample)
        sample["images"] = np.stack(
            [self.transform.validation(jpeg) for jpeg in sample.pop("jpegs")]
        )
        return sample


def stack(rows: Sequence[dict]) -> dict[str, np.ndarray]:
    """Rows, whose `images` may be lists, -> arrays [B, ...]; copies each image once."""
    images = np.stack([image for row in rows for image in row["images"]])
    batch = {name: np.stack([row[name] for row in rows]) for name in rows[0] if name != "images"}
    return {**batch, "images": images.reshape(len(rows), -1, *images.shape[1:])}
