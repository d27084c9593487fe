"""Prompts and ids."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from semanticvla_jax.errors import InputError
from semanticvla_jax.text import prompts
from semanticvla_jax.text.tokenizers import PromptTokenizer, open_tokenizer

TOKENIZER = PromptTokenizer()
TASK = "pick up the black bowl between the plate and the ramekin and place it on the plate"


def test_the_sentences():
    assert prompts.prompt("Turn on the Stove") == (
        "In: What action should the robot take to turn on the stove?\nOut:"
    )
    assert prompts.canonical(prompts.question("Turn  on the 'Stove'!")) == (
        "what action should the robot take to turn on the stove"
    )


def test_a_prompt_is_text_then_empty_token_then_padding():
    ids = TOKENIZER.prompt(TASK)
    length = int((ids != TOKENIZER.pad_id).sum())
    assert ids.dtype == np.int32 and ids.shape == (TOKENIZER.prompt_length,)
    assert ids[length - 1] == TOKENIZER.empty_id
    assert (ids[length:] == TOKENIZER.pad_id).all()
    assert TOKENIZER.bos_id not in ids and TOKENIZER.eos_id not in ids
    assert TOKENIZER.language.decode(ids[: length - 1].tolist()) == prompts.prompt(TASK)
    mask = TOKENIZER.encode(TASK)["prompt_mask"]
    assert mask.dtype == bool and mask[:length].all() and not mask[length:].any()


def test_a_text_ends_and_pads_with_one_id():
    ids = TOKENIZER.text("Turn on the stove!")
    words = ids[ids != 1]
    assert ids.shape == (TOKENIZER.text_length,)
    assert (ids[len(words) :] == 1).all() and len(words) < len(ids)
    assert TOKENIZER.vision_text.decode(words.tolist()) == (
        "what action should the robot take to turn on the stove"
    )


def test_special_ids_of_the_shipped_vocabulary():
    assert (TOKENIZER.pad_id, TOKENIZER.bos_id, TOKENIZER.eos_id) == (0, 1, 2)
    assert TOKENIZER.vocabulary_size == 512 and TOKENIZER.text_vocabulary_size == 512
    assert 3 < TOKENIZER.empty_id < 512


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=20))
def test_any_instruction_can_be_encoded(instruction):
    tokenizer = PromptTokenizer(prompt_length=200, text_length=200)
    ids = tokenizer.prompt(instruction)
    assert tokenizer.language.piece("<unk>") not in ids
    assert 0 <= ids.min() and ids.max() < tokenizer.vocabulary_size
    assert tokenizer.language.decode(ids[ids != 0].tolist()).rstrip() == (
        prompts.prompt(instruction)
    )
    tokenizer.text(instruction)


def test_every_libero_instruction_fits():
    from semanticvla_jax.text.train_tokenizer import libero_instructions

    instructions = libero_instructions()
    assert len(instructions) == 130 and TASK in instructions
    assert not any("_" in text or "SCENE" in text for text in instructions)
    ids = {tuple(TOKENIZER.prompt(text)) for text in instructions}
    assert len(ids) == len({TOKENIZER.text(text).tobytes() for text in instructions})
    assert len(ids) == len(set(instructions))


def test_training_gives_the_shipped_vocabulary():
    from semanticvla_jax.text.train_tokenizer import libero_instructions, train

    again = sentencepiece.SentencePieceProcessor(model_proto=train(libero_instructions()))
    shipped = TOKENIZER.language
    assert [again.id_to_piece(n) for n in range(512)] == [shipped.piece_of(n) for n in range(512)]


def test_too_long_an_instruction():
    with pytest.raises(InputError, match="prompt of the instruction .* at most 40.*prompt_length"):
        TOKENIZER.prompt("and then " * 30)
    with pytest.raises(InputError, match="raise config.data.text_length"):
        TOKENIZER.text("and then " * 30)


def test_a_tokenizer_travels_to_worker_processes():
    copy = pickle.loads(pickle.dumps(TOKENIZER))
    np.testing.assert_array_equal(copy.prompt(TASK), TOKENIZER.prompt(TASK))


def test_vocabularies_from_a_path(tmp_path):
    """A vocabulary like Llama's: no padding id; padding then takes the id after the last."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([prompts.prompt(TASK)]),
        model_writer=model,
        model_type="bpe",
        vocab_size=320,
        byte_fallback=True,
        normalization_rule_name="identity",
        pad_id=-1,
        minloglevel=2,
    )
    path = tmp_path / "tokenizer.model"
    path.write_bytes(model.getvalue())
    tokenizer = open_tokenizer(path, prompt_length=64)
    assert tokenizer.pad_id == 320 and tokenizer.vocabulary_size == 384
    assert tokenizer.prompt(TASK)[-1] == 320
    assert tokenizer.text_vocabulary_size == 512  # the shipped one


def test_a_vocabulary_that_is_missing_or_broken(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_tokenizer(tmp_path / "absent.model")
    (tmp_path / "broken.model").write_bytes(b"not a model")
    with pytest.raises(InputError, match="unreadable"):
        open_tokenizer("", tmp_path / "broken.model")
