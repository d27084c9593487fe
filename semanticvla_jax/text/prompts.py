"""The sentences a policy reads, word for word as in the released code."""

from __future__ import annotations

import re
import string

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def question(instruction: str) -> str:
    """The sentence the vision-language text tower reads in training."""
    return f"What action should the robot take to {instruction.lower()}?"


def prompt(instruction: str) -> str:
    """The prompt the language model reads."""
    return f"In: {question(instruction)}\nOut:"


# What the vision-language text tower reads: in the released training, and in its evaluation.
SENTENCES = {"question": question, "prompt": prompt}


def canonical(text: str) -> str:
    """Lower case, without punctuation, single spaces: SigLIP's canonical form."""
    return re.sub(r"\s+", " ", text.lower().translate(_PUNCTUATION)).strip()
