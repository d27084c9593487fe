"""Trains the small vocabulary that ships with the project.

    python -m semanticvla_jax.text.train_tokenizer [--out semanticvla_jax/text/libero.model]

The corpus is the instructions of LIBERO's 130 tasks in both sentences a policy reads. Unknown text
falls back to bytes, so any instruction can be encoded. Needs the simulator's requirements
(hf-libero), only for the names of the tasks.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import io
import re
from pathlib import Path

import sentencepiece

from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.text import prompts
from semanticvla_jax.text.tokenizers import SHIPPED_MODEL

VOCABULARY_SIZE = 512


def libero_instructions() -> list[str]:
    """The instructions of all 130 tasks, from the installed benchmark's own table of names.

    Raises:
      InputError: hf-libero is not installed.
    """
    package = importlib.util.find_spec("libero")
    if package is None:
        raise InputError(
            "package hf-libero",
            found="not installed",
            expected="LIBERO's table of tasks",
            fix="pip install --no-deps -r requirements/simulator.txt",
        )
    table = Path(package.origin).parent / "libero/benchmark/libero_suite_task_map.py"
    suites = ast.literal_eval(table.read_text().split("=", 1)[1].strip())
    names = [name for tasks in suites.values() for name in tasks]
    return [re.sub(r"^[A-Z_]+SCENE\d+_", "", name).replace("_", " ") for name in names]


def train(instructions: list[str]) -> bytes:
    """A serialised SentencePiece model; ids as in Llama's but pad: pad 0, bos 1, eos 2, unk 3."""
    sentences = [
        sentence
        for instruction in instructions
        for sentence in (
            prompts.prompt(instruction),
            prompts.canonical(prompts.question(instruction)),
        )
    ]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY_SIZE,
        character_coverage=1.0,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=1,
    )
    return model.getvalue()


@exit_on_input_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SHIPPED_MODEL)
    out = parser.parse_args().out
    model = train(libero_instructions())
    out.write_bytes(model)
    print(f"{out}: {len(model)} bytes")


if __name__ == "__main__":
    main()
