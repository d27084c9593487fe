"""Pictures of scenes and films."""

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero import gallery


def test_strip_shows_first_and_last_frame(tmp_path):
    film = tmp_path / "film.mp4"
    writer = imageio_ffmpeg.write_frames(str(film), (128, 64), ffmpeg_log_level="error")
    writer.send(None)
    for level in range(0, 250, 10):
        frame = np.full((64, 128, 3), level, np.uint8)
        frame[:, 64:] = 255 - level
        writer.send(frame)
    writer.close()
    gallery.save_strip(film, tmp_path / "strip.jpg", frames=5, height=40)
    strip = np.asarray(Image.open(tmp_path / "strip.jpg")).astype(int)
    assert strip.shape == (80, 200, 3)
    assert strip[20, 20].mean() == pytest.approx(0, abs=8), "first frame, first camera"
    assert strip[60, 180].mean() == pytest.approx(15, abs=8), "last frame, second camera below"


def test_missing_film(tmp_path):
    with pytest.raises(InputError, match="no file"):
        gallery.save_strip(tmp_path / "no.mp4", tmp_path / "strip.jpg")
