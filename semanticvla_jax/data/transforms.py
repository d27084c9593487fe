"""What happens to camera images on the way to the model, in training and at rollout alike.

One object holds both directions, so that a policy sees at rollout what it saw in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from semanticvla_jax.data import images
from semanticvla_jax.data.augmentation import Augmentation
from semanticvla_jax.errors import choose


class ImageTransform(Protocol):
    """Every method returns uint8[size, size, 3]."""

    size: int

    def training(self, jpeg: bytes, rng: np.random.Generator) -> np.ndarray:
        """A stored frame, randomly augmented."""

    def validation(self, jpeg: bytes) -> np.ndarray:
        """A stored frame as the policy would see it at rollout."""

    def rollout(self, image: np.ndarray) -> np.ndarray:
        """A camera image uint8[H, W, 3] of the running robot, rotated as in the datasets."""


@dataclass(frozen=True)
class Sighted:
    """Lanczos-3 to `size`; random augmentation in training, the central crop otherwise."""

    size: int
    augmentation: Augmentation = Augmentation()

    def training(self, jpeg: bytes, rng: np.random.Generator) -> np.ndarray:
        return self.augmentation(images.resize(images.decode_jpeg(jpeg), self.size), rng)

    def validation(self, jpeg: bytes) -> np.ndarray:
        image = images.resize(images.decode_jpeg(jpeg), self.size)
        return images.centre_crop(image, self.augmentation.crop_area)

    def rollout(self, image: np.ndarray) -> np.ndarray:
        return images.evaluation_image(image, self.size, self.augmentation.crop_area)


@dataclass(frozen=True)
class Blank:
    """Mid-grey whatever the camera sees: for the baseline that has no eyes."""

    size: int

    def training(self, jpeg: bytes, rng: np.random.Generator) -> np.ndarray:
        return self._blank()

    def validation(self, jpeg: bytes) -> np.ndarray:
        return self._blank()

    def rollout(self, image: np.ndarray) -> np.ndarray:
        return self._blank()

    def _blank(self) -> np.ndarray:
        return np.full((self.size, self.size, 3), 128, np.uint8)


def find_image_transform(cameras: str, size: int, augmentation: Augmentation) -> ImageTransform:
    """The transform a configuration names.

    Args:
      cameras: "sighted" or "blank".
      size: pixels of the model's input.
      augmentation: of the training images.

    Raises:
      InputError: another name; lists the choices.
    """
    transforms = {"sighted": Sighted(size, augmentation), "blank": Blank(size)}
    return choose(transforms, cameras, "config.data.cameras")
