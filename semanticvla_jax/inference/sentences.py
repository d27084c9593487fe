"""What the model understood of the latest sentences, kept on the device."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.models.semanticvla import Instruction

ENTRIES = ("prompt_ids", "prompt_mask", "text_ids")  # of a batch, which make up a sentence


class Sentences:
    """A table of instructions, one slot per sentence; the least recently used make room.

    A batch refers to slots, so it may mix sentences, and a sentence that is known costs nothing.

    Attributes:
      table: Instruction with leading [capacity].
    """

    def __init__(
        self,
        understand: Callable[[Any, dict], Instruction],
        params: Any,
        example: Mapping[str, np.ndarray],
        capacity: int,
        compiler: Any,
    ):
        """Compiles how a sentence is learnt.

        Args:
          understand: (params, batch of one) -> Instruction.
          params: of the model.
          example: a row with ENTRIES.
          capacity: slots.
          compiler: see compiled.Compiler.
        """
        self.capacity = capacity
        batch = _one(example)
        shapes = jax.eval_shape(understand, params, batch)
        self.table = compiler.zeros(
            jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct((capacity, *leaf.shape[1:]), leaf.dtype), shapes
            )
        )

        def learn(params, table, slot, batch):
            new = understand(params, batch)
            put = jax.lax.dynamic_update_index_in_dim
            return jax.tree.map(lambda old, leaf: put(old, leaf[0], slot, 0), table, new)

        self._learn = compiler.compile(learn, params, self.table, np.int32(0), batch, donate=1)
        self._slots: OrderedDict[bytes, int] = OrderedDict()

    def slots(self, rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """int32[B], where the table holds each row's sentence; learns those that it does not.

        Raises:
          InputError: more sentences than the table has room for.
        """
        sentences = {_key(row): row for row in rows}
        if len(sentences) > self.capacity:
            raise InputError(
                "sentences in one batch",
                found=f"{len(sentences)} different ones",
                expected=f"at most {self.capacity}",
                fix="smaller batches, or a policy with room for more sentences",
            )
        for key in [key for key in sentences if key in self._slots]:
            self._slots.move_to_end(key)
        for key in [key for key in sentences if key not in self._slots]:
            full = len(self._slots) == self.capacity
            slot = self._slots.popitem(last=False)[1] if full else len(self._slots)
            self.table = self._learn(self.table, np.int32(slot), _one(sentences[key]))
            self._slots[key] = slot
        return np.array([self._slots[_key(row)] for row in rows], np.int32)


def _key(row: Mapping[str, np.ndarray]) -> bytes:
    return b"".join(np.asarray(row[name]).tobytes() for name in ENTRIES)


def _one(row: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.asarray(row[name])[None] for name in ENTRIES}
