"""Which sample comes when, and on which host: shuffling and mixing without a buffer."""

from __future__ import annotations

from collections.abc import Sequence, Sized

import grain

from semanticvla_jax.errors import InputError


def ordered(sources: Sequence[Sized], seed: int, weights: Sequence[float]) -> grain.MapDataset:
    """An endless, globally shuffled sequence of their entries, reshuffled every epoch.

    Equal weights: every entry once per epoch of them all. Else each source has epochs of its own.

    Args:
      sources: one per dataset, with random access.
      seed: of the order.
      weights: multiply each source's share, which is otherwise its number of entries.

    Raises:
      InputError: not one weight per source, or one that is not positive.
    """
    if len(weights) != len(sources) or min(weights) <= 0:
        raise InputError(
            "config.data.weights",
            found=tuple(weights),
            expected=f"{len(sources)} positive numbers, one per dataset",
            fix="correct config.data.weights, or leave it empty",
        )
    if len(set(weights)) == 1:
        entries = grain.MapDataset.concatenate(list(map(grain.MapDataset.source, sources)))
        return entries.seed(seed).shuffle().repeat()
    return grain.MapDataset.mix(
        [
            grain.MapDataset.source(source).seed(seed + number).shuffle().repeat()
            for number, source in enumerate(sources)
        ],
        [weight * len(source) for weight, source in zip(weights, sources, strict=True)],
    ).seed(seed)


class Share(grain.MapDataset):
    """One host's samples: the `index`-th of `count` equal blocks of every batch.

    Blocks, so that the hosts' parts side by side are the batch of a single host, row for row.
    """

    def __init__(self, samples: grain.MapDataset, index: int, count: int, batch_size: int):
        super().__init__(samples)
        self._batch_size, self._size = batch_size, batch_size // count
        self._first, self._length = index * self._size, len(samples) // count

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.slice(index)
        batch, place = divmod(index, self._size)
        return self._parent[batch * self._batch_size + self._first + place]
