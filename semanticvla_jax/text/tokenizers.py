"""Prompt and text ids from SentencePiece vocabularies.

Two vocabularies: the language model's, for the prompt, and the text tower's. The shipped one serves
as both; the original Llama and SigLIP files load from their paths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import sentencepiece

from semanticvla_jax.errors import InputError
from semanticvla_jax.text import prompts

SHIPPED_MODEL = Path(__file__).with_name("libero.model")

TEXT_END = 1  # SigLIP's end-of-sentence id, which is its padding id too
_SPACE_PIECE = "\u2581"  # Llama's id 29871, the "empty" token that closes a prompt


@dataclass(frozen=True)
class Vocabulary:
    """One SentencePiece file. Picklable.

    Attributes:
      path: of the .model file.
    """

    path: Path

    @cached_property
    def _processor(self) -> sentencepiece.SentencePieceProcessor:
        if not self.path.is_file():
            raise InputError(
                f"vocabulary {self.path}",
                found="no such file",
                expected="a SentencePiece .model file",
                fix="correct the path, or leave it empty for the vocabulary that ships",
            )
        try:
            return sentencepiece.SentencePieceProcessor(model_file=str(self.path))
        except (RuntimeError, OSError) as error:
            raise InputError(
                f"vocabulary {self.path}",
                found=f"an unreadable file ({error})",
                expected="a SentencePiece .model file",
                fix="copy the file again",
            ) from None

    def __getstate__(self) -> dict:
        return {"path": self.path}

    def __len__(self) -> int:
        return self._processor.vocab_size()

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def decode(self, ids: list[int]) -> str:
        return self._processor.decode(ids)

    def piece(self, piece: str) -> int:
        return self._processor.piece_to_id(piece)

    def piece_of(self, number: int) -> str:
        return self._processor.id_to_piece(number)

    @property
    def bos(self) -> int:
        return self._processor.bos_id()

    @property
    def eos(self) -> int:
        return self._processor.eos_id()

    @property
    def pad(self) -> int:
        """The padding id; where the file has none (Llama), the first id after its pieces."""
        pad = self._processor.pad_id()
        return pad if pad >= 0 else len(self)


@dataclass(frozen=True)
class PromptTokenizer:
    """Instruction -> static-length ids for the language model and for the text tower. Picklable.

    Attributes:
      language: vocabulary of the language model.
      vision_text: vocabulary of the text tower.
      prompt_length: P, ids of a prompt after BOS, padding included.
      text_length: M, ids of a text, padding included.
      sentence: instruction -> what the text tower reads.
    """

    language: Vocabulary = Vocabulary(SHIPPED_MODEL)
    vision_text: Vocabulary = Vocabulary(SHIPPED_MODEL)
    prompt_length: int = 40
    text_length: int = 32
    sentence: Callable[[str], str] = prompts.question

    def prompt(self, instruction: str) -> np.ndarray:
        """int32[P]: the prompt after BOS, closed by the "empty" token, right padded.

        Raises:
          InputError: longer than P.
        """
        ids = self.language.encode(prompts.prompt(instruction))
        if ids[-1] != self.empty_id:
            ids.append(self.empty_id)
        return _padded(ids, self.prompt_length, self.pad_id, "prompt", instruction)

    def text(self, instruction: str) -> np.ndarray:
        """int32[M]: the canonical sentence, its end id, and padding by the same id.

        Raises:
          InputError: longer than M.
        """
        ids = self.vision_text.encode(prompts.canonical(self.sentence(instruction)))
        return _padded([*ids, TEXT_END], self.text_length, TEXT_END, "text", instruction)

    def encode(self, instruction: str) -> dict[str, np.ndarray]:
        """The batch entries of an instruction: prompt_ids, prompt_mask bool[P], text_ids."""
        prompt_ids = self.prompt(instruction)
        return {
            "prompt_ids": prompt_ids,
            "prompt_mask": prompt_ids != self.pad_id,
            "text_ids": self.text(instruction),
        }

    @property
    def bos_id(self) -> int:
        return self.language.bos

    @property
    def eos_id(self) -> int:
        """Closes the sequence after the action tokens; Llama's `</s>`."""
        return self.language.eos

    @property
    def pad_id(self) -> int:
        return self.language.pad

    @property
    def empty_id(self) -> int:
        """29871 in Llama's vocabulary: a lone space."""
        return self.language.piece(_SPACE_PIECE)

    @property
    def vocabulary_size(self) -> int:
        """Rows of the language model's table: all ids and the padding id, a multiple of 64."""
        return -(-max(len(self.language), self.pad_id + 1) // 64) * 64

    @property
    def text_vocabulary_size(self) -> int:
        """Rows of the text tower's table."""
        return len(self.vision_text)


def open_tokenizer(
    language: str | Path = "",
    vision_text: str | Path = "",
    *,
    prompt_length: int = 40,
    text_length: int = 32,
    sentence: Callable[[str], str] = prompts.question,
) -> PromptTokenizer:
    """A tokenizer from vocabulary files; an empty path means the shipped vocabulary.

    Args:
      language: Llama's `tokenizer.model`.
      vision_text: SigLIP's `spiece.model`.
      prompt_length: P.
      text_length: M; 64 for the original SigLIP.
      sentence: instruction -> what the text tower reads.

    Raises:
      InputError: a file is missing or unreadable.
    """
    tokenizer = PromptTokenizer(
        Vocabulary(Path(language or SHIPPED_MODEL)),
        Vocabulary(Path(vision_text or SHIPPED_MODEL)),
        prompt_length,
        text_length,
        sentence,
    )
    len(tokenizer.language), len(tokenizer.vision_text)
    return tokenizer


def _padded(ids: list[int], length: int, pad: int, what: str, instruction: str) -> np.ndarray:
    if len(ids) > length:
        raise InputError(
            f"{what} of the instruction {instruction!r}",
            found=f"{len(ids)} tokens",
            expected=f"at most {length}",
            fix=f"shorten the instruction, or raise config.data.{what}_length",
        )
    return np.asarray(ids + [pad] * (length - len(ids)), np.int32)
