"""Pictures and films inside the page, as far as its size allows."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

STRIP_FRAMES, STRIP_WIDTH = 6, 900
JPEG_QUALITY = 78


class Budget:
    """Bytes that may still go into the page.

    Attributes:
      left: of them, after base64.
    """

    def __init__(self, megabytes: float):
        self.left = int(megabytes * 1e6)

    def embed(self, content: bytes, kind: str) -> str | None:
        """A data URI of `kind`, such as "video/mp4"; None if it does not fit."""
        if not self.take(4 * len(content) // 3):
            return None
        return data_uri(content, kind)

    def take(self, size: int) -> bool:
        """Reserves so many bytes, if there are."""
        fits = size <= self.left
        if fits:
            self.left -= size
        return fits


def data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def relative_link(target: Path, page: Path) -> str:
    """URL of a file as seen from the page's directory."""
    return quote(os.path.relpath(target, page.resolve().parent))


def jpeg(image: np.ndarray) -> bytes:
    """Of uint8[H, W, 3]."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


@dataclass(frozen=True)
class Stills:
    """Pictures of a film, as JPEG.

    Attributes:
      strip: evenly spaced frames side by side, each camera in a row of its own.
      poster: the last frame.
    """

    strip: bytes
    poster: bytes


def stills(film: Path) -> Stills | None:
    """Of a film with two cameras side by side; None if it cannot be read."""
    try:
        frames = _evenly_spaced(film)
    except (OSError, RuntimeError, ValueError):
        return None  # half written, or no film
    if not frames:
        return None
    cameras = [np.split(frame, 2, axis=1) for frame in frames]
    strip = Image.fromarray(np.concatenate([np.concatenate(pair) for pair in cameras], axis=1))
    strip.thumbnail((STRIP_WIDTH, STRIP_WIDTH), Image.Resampling.LANCZOS)
    return Stills(jpeg(np.asarray(strip)), jpeg(frames[-1]))


def _evenly_spaced(film: Path) -> list[np.ndarray]:
    """At most STRIP_FRAMES frames, first and last included, uint8[H, W, 3]."""
    import imageio_ffmpeg

    count, _ = imageio_ffmpeg.count_frames_and_secs(str(film))
    chosen = set(np.linspace(0, count - 1, min(STRIP_FRAMES, count)).round().astype(int).tolist())
    reader = imageio_ffmpeg.read_frames(str(film))
    width, height = next(reader)["size"]
    return [
        np.frombuffer(frame, np.uint8).reshape(height, width, 3)
        for number, frame in enumerate(reader)
        if number in chosen
    ]
