"""What configuration files share: words behind the colon, and the released optimizer."""

from typing import NamedTuple

from ml_collections import ConfigDict

from semanticvla_jax.errors import InputError
from semanticvla_jax.models.presets import SIZES
from semanticvla_jax.models.variants import VARIANTS
from semanticvla_jax.robots import ROBOTS


class Names(NamedTuple):
    """A variant of the model, its size and the robot."""

    variant: str
    size: str
    robot: str


def parse(chosen: str, *, robot: str) -> Names:
    """'lite,small' -> Names; what is not said is the released 7B model on `robot`.

    Raises:
      InputError: a word that is no variant, size or robot.
    """
    names = {"variant": "released", "size": "7b", "robot": robot}
    tables = {"variant": VARIANTS, "size": SIZES, "robot": ROBOTS}
    for word in filter(None, (part.strip() for part in chosen.split(","))):
        kind = next((kind for kind, table in tables.items() if word in table), None)
        if kind is None:
            raise InputError(
                "option behind the configuration file",
                found=repr(word),
                expected="; ".join(f"{k}: {', '.join(table)}" for k, table in tables.items()),
                fix="write e.g. NAME.py:lite,small",
            )
        names[kind] = word
    return Names(**names)


def released_optimizer(*, adapters: bool) -> ConfigDict:
    """AdamW as released; with adapters, the pretrained parts they adapt are frozen."""
    frozen = ((r"(siglip|dino|llm)/.*|pruners/text_encoder/.*", None),) if adapters else ()
    return ConfigDict(
        dict(
            rule="adam",
            learning_rate=5e-4,
            warmup_steps=2000,
            decay_steps=80_000,
            final_learning_rate=1e-5,
            b1=0.9,
            b2=0.999,
            eps=1e-8,
            weight_decay=0.01,
            decay_mask=".*",
            clip_norm=0.0,
            groups=((r".*/lora_[ab]", 1.0), *frozen, (".*", 1.0)),
        )
    )
