"""Cases j: image preprocessing and augmentation, to one grey level, without TensorFlow."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.data import images
from semanticvla_jax.data.augmentation import Draw
from semanticvla_jax.models.vit import HALF, PatchEmbed, VisionTower
from tests.parity.golden import Golden
from tests.parity.precision import Precision
from tests.parity.quantities import Quantity, compare

# Grey levels of a pixel, and of the image's mean: a common offset is no rounding.
LEVELS, MEAN_LEVELS = 1, 0.02
# Means are those of float32 sums of 50,000 pixels.
FLOAT_TOLERANCE, FLOAT_MEAN_TOLERANCE = 1e-5, 5e-5
# Name of a step in the case -> argument of Draw.
OPERATIONS = {
    "random_brightness": "brightness",
    "random_contrast": "contrast",
    "random_saturation": "saturation",
    "random_hue": "hue",
}
NEUTRAL = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


def check(case: Golden, precision: Precision) -> list[Quantity]:
    return [*check_preprocessing(case), *check_pixel_values(case), *check_augmentation(case)]


def check_preprocessing(case: Golden) -> list[Quantity]:
    """JPEG round trip, resizing, central crop: each step, and the policy's whole path."""
    raw, size = case.inputs["raw"], case.outputs["resize_for_policy"].shape[0]
    stored = images.decode_jpeg(images.encode_jpeg(raw))
    return [
        *image("jpeg_roundtrip", stored, case),
        *image("resize_no_jpeg", images.resize(raw, size), case),
        *image("resize_for_policy", images.resize(stored, size), case),
        *image("center_crop", images.evaluation_image(raw, size), case),
    ]


def check_pixel_values(case: Golden) -> list[Quantity]:
    """Both towers' normalisation of the cropped image: channels 0-2 DINOv2, 3-5 SigLIP."""
    cropped = case.outputs["center_crop"]
    dino = case.config["dino_mean"], case.config["dino_std"]
    pixels = np.concatenate([normalise(cropped, *dino), normalise(cropped, *HALF)], axis=-1)
    mean = pixels.mean((0, 1), dtype=np.float64), case.outputs["pixel_values_mean"]
    out = [compare("pixel_values_mean", *mean, FLOAT_MEAN_TOLERANCE, "pixel values")]
    for name in case.outputs:
        if name.startswith("pixel_values") and name.endswith("_corner"):
            part = corner(pixels, case.outputs[name].shape[1:]).transpose(2, 0, 1)
            out.append(compare(name, part, case.outputs[name], FLOAT_TOLERANCE, "pixel values"))
    return out


def normalise(image: np.ndarray, mean, std) -> np.ndarray:
    """As a tower with this normalisation sees the image."""
    tower = VisionTower(1, 1, 1, 1, 1, PatchEmbed(1, 1), mean=tuple(mean), std=tuple(std))
    return np.asarray(tower.normalise(image))


def check_augmentation(case: Golden) -> list[Quantity]:
    """Each step on our own result of the step before, then all at once."""
    source, steps = case.outputs["resize_for_policy"], case.config["aug_steps"]
    draw = drawn(steps)
    cropping = draw.side < 1
    functions = [draw.crop] * cropping + draw.adjustments()
    if len(functions) != len(steps):
        raise ValueError(f"the product makes {len(functions)} steps of the case's {len(steps)}")
    planes, out = source if cropping else images.to_planes(source), []
    for step, function in zip(steps, functions, strict=True):
        planes = function(planes)
        out += image(f"aug_{step['op']}", images.from_planes(planes), case)
        name = f"augf_{step['op']}_corner"
        if name in case.outputs:
            part = corner(planes.transpose(1, 2, 0), case.outputs[name].shape)
            out.append(compare(name, part, case.outputs[name], FLOAT_TOLERANCE, "corners"))
    return [*out, *image("augment_image", draw.apply(source), case)]


def drawn(steps: list[dict]) -> Draw:
    """The random choices that a case lists, in the product's order."""
    choices = dict(NEUTRAL, top=0.0, left=0.0, side=1.0)
    for step in steps:
        if step["op"] == "random_resized_crop":
            choices |= {"top": step["offset_y"], "left": step["offset_x"], "side": step["side"]}
        else:
            choices[OPERATIONS[step["op"]]] = step["value"]
    return Draw(**choices)


def corner(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The first rows and columns of [H, W, C]."""
    return x[: shape[0], : shape[1]]


def image(name: str, found: np.ndarray, case: Golden) -> list[Quantity]:
    """Largest difference of a pixel, and that of the mean, in grey levels."""
    expected = case.outputs[name]
    if found.shape != expected.shape:
        return [compare(name, found, expected, LEVELS)]
    offset = abs(found.astype(float).mean() - expected.astype(float).mean())
    return [
        compare(name, found, expected, LEVELS, "grey levels"),
        Quantity(f"mean of {name}", offset, MEAN_LEVELS, "mean grey levels"),
    ]
