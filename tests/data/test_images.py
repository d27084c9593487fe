"""Image operations: hand numbers, invariants, the released pipeline's pixels."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from semanticvla_jax.data import augmentation, images
from semanticvla_jax.data.augmentation import NO_AUGMENTATION, Augmentation

RAMP = np.tile(np.array([0, 60, 120, 180, 240], np.uint8)[None, :, None], (5, 1, 3))


def pixel(red: float, green: float, blue: float) -> np.ndarray:
    return np.array([red, green, blue], np.float32).reshape(3, 1, 1)


@settings(deadline=None)  # compiles at the first call
@given(st.integers(2, 60), st.integers(2, 60))
def test_resampling_keeps_a_constant_image(source, target):
    image = np.full((source, source, 3), 77, np.uint8)
    assert (images.resize(image, target) == 77).all()


@pytest.mark.parametrize("source, target", [((256, 256), 224), ((48, 64), 56), ((20, 30), 40)])
def test_resampling_agrees_with_jax(source, target):
    import jax

    image = np.random.default_rng(0).integers(0, 256, (*source, 3), dtype=np.uint8)
    expected = jax.image.resize(image.astype(np.float32), (target, target, 3), "lanczos3")
    expected = np.clip(np.rint(expected), 0, 255)
    assert np.abs(images.resize(image, target) - expected).max() <= 1


def test_halving_averages_what_a_lanczos_kernel_covers():
    """A step edge stays where it is, and the kernel's overshoot is clipped."""
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 255
    half = images.resize(image, 4)
    assert (half[..., 0] == half[..., 2]).all()
    row = half[0, :, 0].astype(int)
    assert row[0] <= 5 and row[1] < 30 and row[2] > 225 and row[3] >= 250
    np.testing.assert_allclose(row + row[::-1], 255, atol=1)


def test_a_size_that_fits_is_left_alone():
    image = np.zeros((8, 8, 3), np.uint8)
    assert images.resize(image, 8) is image


def test_crops_of_a_ramp_are_ramps():
    whole = images.crop_and_resize(RAMP, 0, 0, 1, 5)
    np.testing.assert_allclose(whole, images.to_planes(RAMP), atol=1e-7)
    right_half = images.crop_and_resize(RAMP, 0, 0.5, 0.5, 5) * 255
    np.testing.assert_allclose(right_half[0, 0], [120, 150, 180, 210, 240], atol=1e-4)
    upper_left = images.crop_and_resize(RAMP.transpose(1, 0, 2), 0, 0, 0.5, 3) * 255
    np.testing.assert_allclose(upper_left[2, :, 0], [0, 60, 120], atol=1e-4)


def test_planes_and_back():
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    planes = images.to_planes(image)
    assert planes.shape == (3, 4, 6) and planes.dtype == np.float32
    np.testing.assert_array_equal(images.from_planes(planes), image)
    assert images.from_planes(np.full((3, 1, 1), 1.0))[0, 0, 0] == 255


def test_hand_numbers_of_the_colour_changes():
    grey = pixel(0.5, 0.5, 0.5)
    np.testing.assert_allclose(augmentation.adjust_brightness(grey, 0.7), 1)
    two = np.stack([np.array([[0.2, 0.6]], np.float32)] * 3)
    np.testing.assert_allclose(augmentation.adjust_contrast(two, 0.5)[0], [[0.3, 0.5]], atol=1e-6)
    skin = pixel(0.8, 0.4, 0.6)  # saturation 1/2
    np.testing.assert_allclose(
        augmentation.adjust_saturation(skin, 0.5), pixel(0.8, 0.6, 0.7), atol=1e-6
    )
    np.testing.assert_allclose(
        augmentation.adjust_saturation(skin, 3.0), pixel(0.8, 0.0, 0.4), atol=1e-6
    )  # saturation cannot pass 1
    third = augmentation.adjust_hue(pixel(0.9, 0.1, 0.1), 1 / 3)
    np.testing.assert_allclose(third, pixel(0.1, 0.9, 0.1), atol=1e-5)
    np.testing.assert_allclose(augmentation.adjust_hue(grey, 0.3), grey)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_hue_and_saturation_agree_with_colorsys(seed):
    import colorsys

    rng = np.random.default_rng(seed)
    red, green, blue = rng.uniform(0, 1, 3)
    factor, delta = rng.uniform(0.8, 1.2), rng.uniform(-0.5, 0.5)
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    np.testing.assert_allclose(
        augmentation.adjust_hue(pixel(red, green, blue), delta).ravel(),
        colorsys.hsv_to_rgb((hue + delta) % 1, saturation, value),
        atol=1e-4,
    )
    np.testing.assert_allclose(
        augmentation.adjust_saturation(pixel(red, green, blue), factor).ravel(),
        colorsys.hsv_to_rgb(hue, min(1, saturation * factor), value),
        atol=1e-4,
    )


def test_draws_stay_in_their_ranges_and_offsets_are_independent():
    draws = [Augmentation().draw(np.random.default_rng(seed)) for seed in range(200)]
    assert all(draw.side == pytest.approx(0.9**0.5) for draw in draws)
    assert all(0 <= offset <= 1 - draw.side for draw in draws for offset in (draw.top, draw.left))
    assert all(draw.top != draw.left for draw in draws)
    for name, low, high in (
        ("brightness", -0.2, 0.2),
        ("contrast", 0.8, 1.2),
        ("saturation", 0.8, 1.2),
        ("hue", -0.05, 0.05),
    ):
        values = [getattr(draw, name) for draw in draws]
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high


def test_the_released_crops_lie_on_the_diagonal():
    released = Augmentation(offsets=augmentation.diagonal_offsets)
    draw = released.draw(np.random.default_rng(0))
    assert draw.top == draw.left > 0


def test_augmenting_repeats_with_its_seed_and_can_be_nothing():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    first, again, other = (Augmentation()(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == image.shape and (first != other).any()
    assert NO_AUGMENTATION(image, np.random.default_rng(0)) is image


def test_an_evaluation_image_is_what_training_sees_on_average():
    image = np.full((64, 64, 3), 90, np.uint8)
    image[16:48, 16:48] = 180
    seen = images.evaluation_image(image, 32)
    assert seen.shape == (32, 32, 3) and seen.dtype == np.uint8
    inner = (seen[16, :, 0] > 135).sum()
    assert inner == pytest.approx(16 / 0.9**0.5, abs=1.1)  # the crop enlarges
    assert (images.evaluation_image(image, 32, crop_area=1)[16, :, 0] > 135).sum() == 16
