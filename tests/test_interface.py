"""Camera images of other shapes than the demonstrations'."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from semanticvla_jax.errors import InputError
from semanticvla_jax.interface import as_recorded, check_observation
from semanticvla_jax.robots import ALOHA, LIBERO


def test_a_square_camera_takes_square_images_only():
    image = np.zeros((48, 64, 3), np.uint8)
    observation = {"image": image, "wrist_image": image[:, :48], "state": np.zeros(8)}
    with pytest.raises(InputError, match="48 x 64 pixels"):
        check_observation({**observation, "instruction": "push"}, LIBERO)
    cameras = dict.fromkeys(ALOHA.camera_names, image)
    check_observation({**cameras, "state": np.zeros(14), "instruction": "push"}, ALOHA)


def test_other_cameras_are_squeezed_as_the_released_pipeline_does():
    """480 x 640 becomes 256 x 256 by PIL's bicubic filter, before anything else."""
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    expected = Image.fromarray(frame).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(as_recorded(frame, 32), expected)


def test_images_as_high_as_the_demonstrations_pass_unchanged():
    frame = np.zeros((48, 64, 3), np.uint8)
    assert as_recorded(frame, 48) is frame
