"""`config.data`: what a run reads and what it does with the images and texts it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from semanticvla_jax.data.augmentation import OFFSETS, Augmentation
from semanticvla_jax.data.transforms import ImageTransform, find_image_transform
from semanticvla_jax.errors import InputError, choose
from semanticvla_jax.text.prompts import SENTENCES
from semanticvla_jax.text.tokenizers import PromptTokenizer, open_tokenizer


@dataclass(frozen=True)
class DataOptions:
    """The entries of `config.data`; the defaults are the released settings.

    Attributes:
      path: directories of TFDS or LeRobot datasets, separated by commas; each a dataset, a
        directory of several (see `sources.open_datasets`), or a mixture's name in a directory (see
        `mixtures.members`).
      weights: per dataset, multiplies its share, which is its number of samples; empty = the
        mixture's own, or every sample alike.
      image_size: pixels of the model's (square) input images.
      cameras: "sighted", or "blank" for the baseline without eyes.
      crop_area: share of the image that random crops (and the central crop at rollout) keep.
      crop_offsets: "independent", or "diagonal" as the released training's quirk has it.
      brightness, contrast, saturation, hue: half-widths of the random changes; 0 = none.
      tail: which steps start a chunk: "complete_chunks" or "repeat_last".
      validation_every: every n-th episode is held out; 0 = none.
      language_vocabulary: Llama's tokenizer.model; empty = the vocabulary that ships.
      text_vocabulary: SigLIP's spiece.model; empty = the vocabulary that ships.
      text_sentence: what the text tower reads: "question" as in the released training, or "prompt"
        as in its evaluation.
      prompt_length, text_length: static lengths P and M, in tokens.
      threads: that prepare batches, in this process or in each worker.
      workers: processes that prepare batches; 0 = this one.
    """

    path: str
    weights: tuple[float, ...] = ()
    image_size: int = 224
    cameras: str = "sighted"
    crop_area: float = 0.9
    crop_offsets: str = "independent"
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.05
    tail: str = "complete_chunks"
    validation_every: int = 0
    language_vocabulary: str = ""
    text_vocabulary: str = ""
    text_sentence: str = "question"
    prompt_length: int = 40
    text_length: int = 32
    threads: int = 2
    workers: int = 0

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> DataOptions:
        """From `config.data`; entries left out keep their defaults.

        Raises:
          InputError: an unknown entry, or no path.
        """
        known = [entry.name for entry in fields(cls)]
        unknown = sorted(set(config) - set(known))
        if unknown or not config.get("path"):
            raise InputError(
                "config.data",
                found=f"unknown entries {unknown}" if unknown else "no path",
                expected=f"path and any of {', '.join(known[1:])}",
                fix="correct the configuration file",
            )
        return cls(**{name: config[name] for name in known if name in config})

    def image_transform(self) -> ImageTransform:
        """Raises InputError where `cameras` or `crop_offsets` is unknown."""
        augmentation = Augmentation(
            crop_area=self.crop_area,
            brightness=self.brightness,
            contrast=(1 - self.contrast, 1 + self.contrast),
            saturation=(1 - self.saturation, 1 + self.saturation),
            hue=self.hue,
            offsets=choose(OFFSETS, self.crop_offsets, "config.data.crop_offsets"),
        )
        return find_image_transform(self.cameras, self.image_size, augmentation)

    def tokenizer(self) -> PromptTokenizer:
        """Raises InputError where a vocabulary file is missing or `text_sentence` is unknown."""
        return open_tokenizer(
            self.language_vocabulary,
            self.text_vocabulary,
            prompt_length=self.prompt_length,
            text_length=self.text_length,
            sentence=choose(SENTENCES, self.text_sentence, "config.data.text_sentence"),
        )
