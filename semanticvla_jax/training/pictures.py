"""The first batch as a picture: what the model is really fed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from semanticvla_jax.robots import RobotSpec


def save_batch(
    batch: dict[str, np.ndarray], robot: RobotSpec, path: str | Path, *, rows: int = 8
) -> None:
    """Writes one row per sample: every camera image, then the chunk's normalised actions as bars.

    Args:
      batch: images uint8[B, I, H, W, 3], actions f32[B, K, A] in [-1, 1].
      robot: names the cameras and actions.
      path: PNG to write.
      rows: samples shown.
    """
    images, actions = np.asarray(batch["images"])[:rows], np.asarray(batch["actions"])[:rows]
    count, cameras, height, width = images.shape[:4]
    scale = max(1, 128 // height)
    cell, header = height * scale, 14
    canvas = Image.new("RGB", ((cameras + 1) * width * scale, header + count * cell), "white")
    draw = ImageDraw.Draw(canvas)
    for camera, name in enumerate((*robot.camera_names, "actions (time ->)")):
        draw.text((camera * width * scale + 2, 1), name, fill="black")
    for row in range(count):
        for camera in range(cameras):
            tile = Image.fromarray(images[row, camera]).resize((cell, cell), Image.NEAREST)
            canvas.paste(tile, (camera * cell, header + row * cell))
        box = (cameras * cell, header + row * cell, (cameras + 1) * cell, header + (row + 1) * cell)
        _draw_chunk(draw, actions[row], box)
    canvas.save(path)


def _draw_chunk(draw: ImageDraw.ImageDraw, chunk: np.ndarray, box: tuple[int, ...]) -> None:
    """One strip per action dimension; bars up and down from its middle line."""
    left, top, right, bottom = box
    steps, dims = chunk.shape
    strip = (bottom - top) / dims
    for dim in range(dims):
        middle = top + strip * (dim + 0.5)
        draw.line([(left, middle), (right, middle)], fill=(200, 200, 200))
        for step in range(steps):
            x = left + (right - left) * (step + 0.15) / steps
            tip = middle - float(np.clip(chunk[step, dim], -1, 1)) * strip * 0.45
            draw.rectangle(
                [x, min(middle, tip), x + (right - left) * 0.7 / steps, max(middle, tip)],
                fill=(40, 90, 160),
            )
