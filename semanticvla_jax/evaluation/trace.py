"""What the policy saw, thought and did in one episode, in an npz file that figures are drawn from.

Always:
  actions f32[T, 7]: executed, in the controller's units.
  query_steps int32[Q]: how many steps had been made at each query; extrapolations are none.
  success bool, instruction str.

Where a policy was asked, Q times, with I cameras, N patches per image, M words:
  images uint8[Q, I, H, W, 3]: as the model saw them (cropped, resized).
  state f32[Q, S]: normalised.
  chunks f32[Q, K, 7]: all predicted actions, in the controller's units.
  words str[M]: pieces of the sentence that the text tower read; padding is ''.

As far as the model has such parts (ID-Pruner, SA-Pruner; lower-precision copies):
  siglip_similarity f16[Q, I, N, M], siglip_patch_scores f16[Q, I, N],
  siglip_word_scores f16[Q, I, M]: vision-to-language similarity and its means.
  siglip_kept_patches int16[Q, I, h]: indices of the patches that go on (language to vision).
  siglip_cue_words int16[Q, I, k], siglip_cue_attention f16[Q, I, N, k]: chosen words, and which
    patches their cues are made of (vision to language).
  kept_tokens bool[Q, V]: image tokens that got through, where the policy is accelerated.
  dino_query_attention f16[Q, I, A, N]: of the aggregation tokens to the patches in the last block,
    mean over heads; what a row lacks to 1 went to other tokens.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semanticvla_jax.evaluation.agents import Asked
from semanticvla_jax.evaluation.files import write_whole
from semanticvla_jax.evaluation.rollout import Episode

TOWERS = ("siglip", "dino")
DETAILS = (
    "similarity",
    "patch_scores",
    "word_scores",
    "kept_patches",
    "cue_words",
    "cue_attention",
    "query_attention",
)


def write_trace(path: Path, episode: Episode) -> None:
    """Writes the file, whole or not at all."""
    file = io.BytesIO()
    np.savez_compressed(file, **trace_arrays(episode))
    write_whole(path, file.getvalue())


def trace_arrays(episode: Episode) -> dict[str, np.ndarray]:
    """The entries of the module's docstring."""
    queries = [query for query in episode.queries if query.by_model]
    arrays = {
        "actions": episode.actions,
        "query_steps": np.array([query.step for query in queries], np.int32),
        "success": np.array(episode.success),
        "instruction": np.array(episode.instruction),
    }
    if queries and queries[0].inputs is not None:
        arrays |= _seen(queries)
    return arrays


def _seen(queries: Sequence[Asked]) -> dict[str, np.ndarray]:
    arrays = {
        name: np.stack([query.inputs[name] for query in queries]) for name in ("images", "state")
    }
    arrays["chunks"] = np.stack([query.chunk for query in queries])
    arrays["words"] = np.array(queries[0].words)
    if queries[0].kept is not None:
        arrays["kept_tokens"] = np.stack([query.kept for query in queries])
    for tower in TOWERS:
        for name in DETAILS:
            found = [_find(query.details, tower, name) for query in queries]
            if found[0] is not None:
                arrays[f"{tower}_{name}"] = _compact(np.stack(found))
    return arrays


def _find(details: dict[str, Any] | None, tower: str, name: str) -> np.ndarray | None:
    return ((details or {}).get(tower) or {}).get(name)


def _compact(array: np.ndarray) -> np.ndarray:
    return array.astype(np.int16 if np.issubdtype(array.dtype, np.integer) else np.float16)
