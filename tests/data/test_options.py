"""Configured choices of crops and sentences reach what is built from them."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.data.options import DataOptions
from semanticvla_jax.errors import InputError


def test_crops_lie_on_the_diagonal_only_where_asked_for():
    rng = np.random.default_rng(0)
    diagonal = DataOptions(path="x", crop_offsets="diagonal").image_transform().augmentation
    anywhere = DataOptions(path="x").image_transform().augmentation
    drawn = diagonal.draw(rng)
    assert drawn.top == drawn.left
    drawn = anywhere.draw(rng)
    assert drawn.top != drawn.left


def test_the_text_tower_reads_the_question_or_the_whole_prompt():
    sentences = {
        "question": "what action should the robot take to open it",
        "prompt": "in what action should the robot take to open it out",
    }
    for name, sentence in sentences.items():
        tokenizer = DataOptions(path="x", text_sentence=name).tokenizer()
        words = tokenizer.vision_text.encode(sentence)
        found = tokenizer.text("open it").tolist()
        assert found == words + [1] * (len(found) - len(words))


@pytest.mark.parametrize(
    "entry, build", [("crop_offsets", "image_transform"), ("text_sentence", "tokenizer")]
)
def test_unknown_choices_are_named(entry, build):
    options = DataOptions(path="x", **{entry: "other"})
    with pytest.raises(InputError, match=f"config.data.{entry}: found 'other', expected one of"):
        getattr(options, build)()
