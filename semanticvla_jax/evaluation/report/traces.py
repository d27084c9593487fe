"""What the page's viewer draws: a trace file's images, maps and actions."""

from __future__ import annotations

import base64
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from semanticvla_jax.evaluation.report.media import Budget, data_uri, jpeg
from semanticvla_jax.evaluation.report.runs import Row, Run
from semanticvla_jax.evaluation.trace import TOWERS
from semanticvla_jax.robots import LIBERO

SHARE = 0.6  # of the budget that traces may take


@dataclass(frozen=True)
class Trace:
    """One traced episode.

    Attributes:
      run: its position among the report's runs.
      row: its result.
      actions: [{kind, unit, lines: [{name, values: [T]}]}] for each kind of action.
      steps: T.
      seen: whether it has images; an expert's has none.
      json: what the viewer's script reads, see `viewer_data`.
    """

    run: int
    row: Row
    actions: list[dict[str, Any]]
    steps: int
    seen: bool
    json: Markup


def embed_traces(runs: Sequence[Run], budget: Budget) -> tuple[list[Trace], int]:
    """Traces that fit, the runs taking turns, and how many there are besides."""
    reserved = (1 - SHARE) * budget.left
    waiting = [
        [(number, row, path) for row in run.finished if (path := run.trace(row))]
        for number, run in enumerate(runs)
    ]
    turns = [entry for row in _transposed(waiting) for entry in row]
    traces = []
    for number, row, path in turns:
        if path.stat().st_size > budget.left - reserved:
            continue  # it would only grow
        arrays = read_trace(path)
        if arrays is not None:
            trace = _trace(number, row, arrays)
            if len(trace.json) <= budget.left - reserved and budget.take(len(trace.json)):
                traces.append(trace)
    traces.sort(key=lambda trace: (not trace.seen, trace.run))
    return traces, len(turns) - len(traces)


def read_trace(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays described in `semanticvla_jax.evaluation.trace`; None if it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    known = {"actions", "query_steps"} <= arrays.keys()
    return arrays if known and arrays["actions"].shape[1:] == (LIBERO.action_size,) else None


def viewer_data(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What is drawn over the images at each of Q queries, JSON-able.

    Returns:
      query_steps [Q]; chunks [Q][K][A], predicted actions; where the policy has images besides:
      cameras, I names; images [Q][I], data URIs; grid, patches per side; words; panels, one per
      mechanism the policy has: {kind: "words", tower, cue_words [Q][I][k], cues and similarity:
      maps, of cues and of words}, {kind: "kept", tower, kept [Q][I][h]} and {kind: "tokens",
      tower, attention: maps}. Maps: see `_maps`.
    """
    data: dict[str, Any] = {"query_steps": arrays["query_steps"].tolist()}
    if "chunks" in arrays:
        data["chunks"] = _rounded(arrays["chunks"])
    if "images" not in arrays:
        return data
    images = arrays["images"]
    names = LIBERO.camera_names
    known = len(names) == images.shape[1]
    data["cameras"] = list(names) if known else [f"camera {i}" for i in range(images.shape[1])]
    data["images"] = [[data_uri(jpeg(image), "image/jpeg") for image in query] for query in images]
    words = [str(word) for word in arrays.get("words", ())]
    read = [index for index, word in enumerate(words) if word]
    data["words"] = [words[index].replace("▁", " ") for index in read]
    panels = [panel for tower in TOWERS for panel in _panels(arrays, tower, read)]
    patches = {panel.pop("patches") for panel in panels}
    data["grid"] = math.isqrt(max(patches, default=0))
    data["panels"] = panels if patches == {data["grid"] ** 2} else []
    return data


def _panels(arrays: dict[str, np.ndarray], tower: str, read: list[int]):
    """The panels of a tower, with their number of patches."""

    def get(name: str) -> np.ndarray | None:
        return arrays.get(f"{tower}_{name}")

    similarity, cues = get("similarity"), get("cue_attention")
    if similarity is not None:
        panel = {"kind": "words", "tower": tower, "patches": similarity.shape[2]}
        panel["similarity"] = _maps(similarity.swapaxes(2, 3)[:, :, read])
        if cues is not None and cues.shape[-1]:
            position = {index: order for order, index in enumerate(read)}
            panel["cues"] = _maps(cues.swapaxes(2, 3))
            panel["mean_cue"] = _maps(cues.mean(-1, dtype=np.float32)[:, :, None])
            panel["cue_words"] = [
                [[position.get(int(word), -1) for word in image] for image in query]
                for query in get("cue_words")
            ]
        yield panel
    kept, scores = get("kept_patches"), get("patch_scores")
    if kept is not None and scores is not None:
        yield {"kind": "kept", "tower": tower, "patches": scores.shape[2], "kept": kept.tolist()}
    attention = get("query_attention")
    if attention is not None:
        panel = {"kind": "tokens", "tower": tower, "patches": attention.shape[3]}
        mean = attention.mean(2, keepdims=True, dtype=np.float32)
        yield panel | {"attention": _maps(attention), "mean": _maps(mean)}


def _maps(values: np.ndarray) -> dict[str, Any]:
    """f[Q, I, X, N] -> {count: X, bytes: base64 of uint8, low, high: [Q * I * X]}.

    Each map is stretched to 0..255; low and high tell its range.
    """
    values = values.astype(np.float32)
    low, high = values.min(-1, keepdims=True), values.max(-1, keepdims=True)
    scaled = np.rint(255 * (values - low) / np.maximum(high - low, 1e-12)).astype(np.uint8)
    return {
        "count": values.shape[2],
        "bytes": base64.b64encode(scaled.tobytes()).decode(),
        "low": _rounded(low.ravel()),
        "high": _rounded(high.ravel()),
    }


def _trace(run: int, row: Row, arrays: dict[str, np.ndarray]) -> Trace:
    actions = arrays["actions"]
    kinds = [
        {
            "kind": kind,
            "unit": LIBERO.action[dims[0]].unit,
            "lines": [
                {"name": LIBERO.action[dim].name, "dim": dim, "values": actions[:, dim].tolist()}
                for dim in dims
            ],
        }
        for kind, dims in LIBERO.action_kinds.items()
    ]
    data = htmlsafe_json_dumps(viewer_data(arrays), separators=(",", ":"))
    return Trace(run, row, kinds, len(actions), "images" in arrays, data)


def _rounded(values: np.ndarray) -> list:
    return np.round(values.astype(np.float64), 4).tolist()


def _transposed(lists: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """The first of each list, then the second of each, as far as they go."""
    longest = max(map(len, lists), default=0)
    return [[entries[turn] for entries in lists if turn < len(entries)] for turn in range(longest)]
