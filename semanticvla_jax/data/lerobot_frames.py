"""Single frames of LeRobot datasets: out of videos by time, out of parquet files by row."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from semanticvla_jax.data.images import encode_jpeg
from semanticvla_jax.data.lerobot_layout import COPY_AGAIN
from semanticvla_jax.errors import InputError

READ_ON = 1.0  # seconds ahead up to which decoding on is cheaper than seeking
JPEG = b"\xff\xd8"


class VideoFrames:
    """Random access to one video by time. For one thread."""

    def __init__(self, path: Path, fps: float):
        self.path, self._tolerance = path, 0.5 / fps
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (av.FFmpegError, IndexError, OSError) as error:
            raise InputError(
                f"video {path}", found=_words(error), expected="a video", fix=COPY_AGAIN
            ) from None
        self._stream.codec_context.thread_count = 1  # workers are the parallelism
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._time = float("inf")

    @property
    def frame_count(self) -> int:
        """As the file declares; 0 where it does not."""
        return self._stream.frames

    def jpeg(self, time: float) -> bytes:
        """The frame shown at `time` (s), encoded; demonstrations are trained on as JPEG.

        Raises:
          InputError: no frame within half a frame's time, or the video does not decode.
        """
        return encode_jpeg(self.image(time))

    def image(self, time: float) -> np.ndarray:
        """uint8[H, W, 3]; raises as `jpeg` does."""
        try:
            if not self._time < time <= self._time + READ_ON:
                self._seek(time)
            for frame in self._frames:
                self._time = frame.time
                if frame.time > time + self._tolerance:
                    break
                if frame.time >= time - self._tolerance:
                    return frame.to_ndarray(format="rgb24")
            found = f"none (the nearest read is at {self._time:.3f} s)"
        except (av.FFmpegError, OSError) as error:
            found = _words(error)
        self._time = float("inf")
        raise InputError(
            f"video {self.path}", found=found, expected=f"a frame at {time:.3f} s", fix=COPY_AGAIN
        )

    def _seek(self, time: float) -> None:
        offset = int(max(time - self._tolerance, 0) / self._stream.time_base)
        self._container.seek(offset, stream=self._stream)
        self._frames = self._container.decode(self._stream)


class ParquetImages:
    """Random access to encoded images in a column of one parquet file. For one thread."""

    def __init__(self, path: Path, column: str):
        self.path, self._column = path, column
        self._file = pq.ParquetFile(path)
        groups = (self._file.metadata.row_group(n) for n in range(self._file.num_row_groups))
        self._start = np.cumsum([0, *(group.num_rows for group in groups)])
        self._group = lru_cache(maxsize=1)(self._read_group)

    def jpeg(self, row: float) -> bytes:
        """The image of a row: as stored where that is JPEG, else (PNG) encoded.

        Raises:
          InputError: it does not decode.
        """
        try:
            group = int(np.searchsorted(self._start, row, "right")) - 1
            stored = self._group(group)[int(row) - int(self._start[group])].as_py()
            if stored.startswith(JPEG):
                return stored
            with Image.open(io.BytesIO(stored)) as image:
                return encode_jpeg(np.asarray(image.convert("RGB")))
        except (pa.ArrowException, OSError, AttributeError, IndexError) as error:
            raise InputError(
                f"{self._column} in row {int(row)} of {self.path}",
                found=_words(error),
                expected="an encoded image",
                fix=COPY_AGAIN,
            ) from None

    def _read_group(self, group: int) -> pa.ChunkedArray:
        table = self._file.read_row_group(group, columns=[f"{self._column}.bytes"])
        return table.flatten()[f"{self._column}.bytes"]


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
