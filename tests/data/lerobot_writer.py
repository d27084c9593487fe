"""Writes tiny LeRobot datasets by the published layout of formats 2.1 and 3.0."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FPS = 20
CAMERAS = ("observation.images.image", "observation.images.wrist_image")
PER_FILE = 3  # episodes in a file of format 3.0


def write_video(path: Path, frames, codec: str = "libx264") -> None:
    """Key frames at every second frame, 4:2:0, as lerobot encodes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = {"libx264": {"crf": "12"}, "libsvtav1": {"crf": "20", "preset": "12"}}[codec]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options={"g": "2", **quality})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def write_version_2(root: Path, episodes: list[dict], *, images: bool = False, **video) -> Path:
    """One parquet file and one video per camera and episode; `images`: PNG in parquet instead."""
    tasks = _tasks(episodes)
    for index, episode in enumerate(episodes):
        path = root / f"data/chunk-{index // 2:03d}/episode_{index:06d}.parquet"
        _write_table(path, [_rows(index, episode, tasks, images)])
        for camera, key in enumerate(CAMERAS if not images else ()):
            name = f"videos/chunk-{index // 2:03d}/{key}/episode_{index:06d}.mp4"
            write_video(root / name, episode["images"][:, camera], **video)
    rows = [
        {"episode_index": index, "tasks": [episode["instruction"]], "length": _length(episode)}
        for index, episode in enumerate(episodes)
    ]
    _write_info(
        root,
        episodes,
        images,
        codebase_version="v2.1",
        chunks_size=2,
        data_path="data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        video_path="videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    )
    _write_lines(root / "meta/episodes.jsonl", rows)
    _write_lines(
        root / "meta/tasks.jsonl",
        [{"task_index": index, "task": task} for task, index in tasks.items()],
    )
    return root


def write_version_3(root: Path, episodes: list[dict], *, images: bool = False, **video) -> Path:
    """Several episodes per file."""
    tasks, rows = _tasks(episodes), []
    for file in range(-(-len(episodes) // PER_FILE)):
        numbers = range(len(episodes))[file * PER_FILE : (file + 1) * PER_FILE]
        part = [episodes[number] for number in numbers]
        tables = [_rows(n, e, tasks, images) for n, e in zip(numbers, part, strict=True)]
        _write_table(root / f"data/chunk-000/file-{file:03d}.parquet", tables)
        for camera, key in enumerate(CAMERAS if not images else ()):
            frames = np.concatenate([episode["images"][:, camera] for episode in part])
            write_video(root / f"videos/{key}/chunk-000/file-{file:03d}.mp4", frames, **video)
        starts = np.cumsum([0, *map(_length, part)])
        for number, episode, start in zip(numbers, part, starts, strict=False):
            rows.append(_episode_3(number, episode, file, float(start) / FPS, images))
    _write_info(
        root,
        episodes,
        images,
        codebase_version="v3.0",
        data_path="data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    )
    _write_table(root / "meta/episodes/chunk-000/file-000.parquet", [pa.Table.from_pylist(rows)])
    words = pa.table({"task_index": list(tasks.values()), "__index_level_0__": list(tasks)})
    _write_table(root / "meta/tasks.parquet", [words])
    return root


def _episode_3(number: int, episode: dict, file: int, start: float, images: bool) -> dict:
    row = {
        "episode_index": number,
        "tasks": [episode["instruction"]],
        "length": _length(episode),
        "data/chunk_index": 0,
        "data/file_index": file,
    }
    for key in CAMERAS if not images else ():
        row |= {
            f"videos/{key}/chunk_index": 0,
            f"videos/{key}/file_index": file,
            f"videos/{key}/from_timestamp": start,
            f"videos/{key}/to_timestamp": start + _length(episode) / FPS,
        }
    return row


def _length(episode: dict) -> int:
    return len(episode["action"])


def _tasks(episodes: list[dict]) -> dict[str, int]:
    names = dict.fromkeys(episode["instruction"] for episode in episodes)
    return {name: index for index, name in enumerate(names)}


def _rows(index: int, episode: dict, tasks: dict[str, int], images: bool) -> pa.Table:
    length = _length(episode)
    columns = {
        "observation.state": _vectors(episode["state"]),
        "action": _vectors(episode["action"]),
        "timestamp": pa.array(np.arange(length) / FPS, pa.float32()),
        "frame_index": np.arange(length),
        "episode_index": np.full(length, index),
        "task_index": np.full(length, tasks[episode["instruction"]]),
    }
    for camera, key in enumerate(CAMERAS if images else ()):
        columns[key] = [{"bytes": _png(i[camera]), "path": ""} for i in episode["images"]]
    return pa.table(columns)


def _vectors(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(values.astype(np.float32).ravel(), values.shape[1])


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _write_table(path: Path, tables: list[pa.Table]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(tables), path, row_group_size=16)


def _write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_info(root: Path, episodes: list[dict], images: bool, **entries) -> None:
    size = list(episodes[0]["images"].shape[2:])
    camera = {"dtype": "image" if images else "video", "shape": size}
    vectors = {
        "observation.state": {"dtype": "float32", "shape": [episodes[0]["state"].shape[1]]},
        "action": {"dtype": "float32", "shape": [episodes[0]["action"].shape[1]]},
    }
    features = {key: camera for key in CAMERAS} | vectors
    (root / "meta").mkdir(exist_ok=True)
    (root / "meta/info.json").write_text(json.dumps({"fps": FPS, "features": features, **entries}))
