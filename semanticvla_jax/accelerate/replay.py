"""A traced episode asked again: the same frames for every method."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semanticvla_jax.errors import InputError


class Frame(NamedTuple):
    """One query of the episode.

    step: control steps made before.
    inputs: the model's, without a batch axis.
    last_action: f32[A] executed before, in the controller's units; None at first.
    """

    step: int
    inputs: dict[str, np.ndarray]
    last_action: np.ndarray | None


def read_frames(trace: str | Path, policy: Any) -> list[Frame]:
    """The queries of a trace, as `policy` would be asked them.

    Args:
      trace: npz file of an evaluation with --trace_every.
      policy: of the same robot and image size; its tokenizer reads the sentence.

    Raises:
      InputError: no such file, or one of a policy that sees otherwise.
    """
    path = Path(trace)
    try:
        arrays = dict(np.load(path))
    except (OSError, ValueError) as error:
        raise InputError(
            f"trace {path}",
            found=error,
            expected="an npz file",
            fix="evaluate with --trace_every 1; traces lie in OUT/traces",
        ) from None
    example = policy.example()
    if "images" not in arrays or arrays["images"].shape[1:] != example["images"].shape:
        raise InputError(
            f"trace {path}",
            found=f"images {arrays['images'].shape[1:] if 'images' in arrays else 'missing'}",
            expected=f"images {example['images'].shape} of a policy's queries",
            fix="trace a policy of the same robot and image size",
        )
    return list(_frames(arrays, policy.tokenizer.encode(str(arrays["instruction"]))))


def _frames(arrays: dict[str, np.ndarray], sentence: dict[str, np.ndarray]) -> Iterator[Frame]:
    for query, step in enumerate(arrays["query_steps"].tolist()):
        seen = {name: arrays[name][query] for name in ("images", "state")}
        yield Frame(step, {**seen, **sentence}, arrays["actions"][step - 1] if step else None)
