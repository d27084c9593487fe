"""Writes small results directories as `semanticvla_jax.evaluate` does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

IDENTITY = {
    "policy": "checkpoint",
    "checkpoint_step": 100,
    "execute": 2,
    "placement": "official",
    "rendering": "fast",
    "assets": {"kind": "generated", "digest": "abc"},
    "max_steps": 30,
}


def key(index: int, task: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "policy": "checkpoint",
        "suite": "libero_object",
        "task": task,
        "placement": f"official:{index}",
        "seed": 0,
        "task_name": f"task_{task}",
        **changes,
    }


def result(index: int, success: bool, task: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        **key(index, task),
        "status": "ok",
        "success": success,
        "steps": 20,
        "latency_ms": [10.0, 30.0],
        "render_ms": [5.0, 5.0],
        "batch": [1, 3],
        "reset_seconds": 0.5,
        "seconds": 4.0,
        "attempt": 1,
        **changes,
    }


def error(index: int, task: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        **key(index, task),
        "status": "error",
        "error_type": "TimeoutError",
        "error": "TimeoutError: silent for 600 s",
        "seconds": 600.0,
        "attempt": 1,
        **changes,
    }


def write_results(
    directory: Path, rows: Iterable[dict[str, Any]], identity: dict[str, Any] = IDENTITY
) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "identity.json").write_text(json.dumps(identity))
    (directory / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return directory


def write_film(path: Path, frames: int = 12) -> Path:
    """A black wall that turns white, seen by two cameras."""
    import imageio_ffmpeg

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = imageio_ffmpeg.write_frames(
        str(path), (64, 32), fps=20, macro_block_size=2, ffmpeg_log_level="error"
    )
    writer.send(None)
    for number in range(frames):
        writer.send(np.full((32, 64, 3), 255 * number // (frames - 1), np.uint8))
    writer.close()
    return path


def trace_arrays(queries: int = 3, side: int = 4) -> dict[str, np.ndarray]:
    """As in `semanticvla_jax.evaluation.trace`; patch q attends most at query q, two words."""
    patches = side * side
    peak = np.tile(np.eye(patches, dtype=np.float16)[:queries, None], (1, 2, 1))
    chunks = np.zeros((queries, 4, 7), np.float32)
    chunks[..., 0] = 0.5
    return {
        "actions": chunks[:, :2].reshape(-1, 7),
        "query_steps": np.arange(0, 2 * queries, 2, dtype=np.int32),
        "success": np.array(False),
        "instruction": np.array("stir soup"),
        "images": np.random.default_rng(0).integers(0, 255, (queries, 2, 32, 32, 3), np.uint8),
        "state": np.zeros((queries, 8), np.float32),
        "chunks": chunks,
        "words": np.array(["▁stir", "▁so", "up", ""]),
        "siglip_similarity": peak[..., None] * np.array([1, 2, 3, 0], np.float16),
        "siglip_patch_scores": peak,
        "siglip_word_scores": np.ones((queries, 2, 4), np.float16),
        "siglip_kept_patches": np.tile(np.array([0, 5], np.int16), (queries, 2, 1)),
        "siglip_cue_words": np.tile(np.array([1, 2], np.int16), (queries, 2, 1)),
        "siglip_cue_attention": np.stack([peak, peak], axis=-1),
        "dino_query_attention": np.stack([peak, 0 * peak], axis=2),
    }


def write_trace(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{**trace_arrays(), **changes})
    return path
