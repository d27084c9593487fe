"""What a policy that was never trained is told and answers."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.data import normalization
from semanticvla_jax.data.augmentation import Augmentation
from semanticvla_jax.data.transforms import Sighted
from semanticvla_jax.interface import Interface
from semanticvla_jax.robots import RobotSpec
from semanticvla_jax.text.tokenizers import PromptTokenizer

CAMERA_PIXELS = 256  # as LIBERO's demonstrations have


def made_up_interface(
    label: str, image_size: int, robot: RobotSpec, tokenizer: PromptTokenizer
) -> Interface:
    """With the released image transform and random statistics."""
    rng = np.random.default_rng(0)
    statistics = normalization.DatasetStatistics.of(
        robot,
        rng.normal(0, 0.5, (100, robot.state_size)),
        rng.uniform(-0.6, 0.6, (100, robot.action_size)),
        1,
    )
    return Interface(
        label=label,
        robot=robot,
        camera_size=CAMERA_PIXELS,
        chunk=robot.chunk_length,
        transform=Sighted(image_size, Augmentation()),
        tokenizer=tokenizer,
        statistics=statistics,
    )
