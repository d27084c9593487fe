"""The same command in other words: verbs and prepositions change, names of things do not."""

from __future__ import annotations

import re

import numpy as np

# (pattern, alternatives). A pattern is a command's verb, or a preposition that says where to;
# "on the stove" in "the bowl on the stove" says where from and must stay.
RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"\bpick up\b", ("take", "get")),
    (r"\bplace (it|them)\b", (r"put \1", r"set \1")),
    (r"\bput (it|them)\b", (r"place \1", r"set \1")),
    (r"^put\b", ("place", "set")),
    (r"(?<=and )put (?=the\b)", ("place ", "set ")),
    (r"\bopen\b", ("pull open",)),
    (r"\bclose\b", ("shut",)),
    (r"\bturn on\b", ("switch on",)),
    (r"\bturn off\b", ("switch off",)),
    (r"^push\b", ("slide", "move")),
    (r"^stack\b", ("pile",)),
)


def paraphrase(sentence: str, strength: float, rng: np.random.Generator) -> str:
    """`sentence` with a share of its replaceable words replaced, at least one if strength > 0.

    Args:
      sentence: a LIBERO command, in lower case.
      strength: 0 to 1, of the rules that apply.
      rng: chooses which, and among alternatives.
    """
    places = _places(sentence)
    if strength == 0 or not places:
        return sentence
    count = max(1, round(strength * len(places)))
    chosen = rng.choice(len(places), size=count, replace=False)
    for index in sorted(chosen, reverse=True):  # from the right, so that positions stay valid
        match, alternatives = places[index]
        words = match.expand(alternatives[rng.integers(len(alternatives))])
        sentence = sentence[: match.start()] + words + sentence[match.end() :]
    return sentence


def _places(sentence: str) -> list[tuple[re.Match, tuple[str, ...]]]:
    """Where rules apply, from left to right; the first rule wins where two overlap."""
    taken: list[tuple[re.Match, tuple[str, ...]]] = []
    for pattern, alternatives in RULES:
        for match in re.finditer(pattern, sentence):
            if all(match.end() <= m.start() or m.end() <= match.start() for m, _ in taken):
                taken.append((match, alternatives))
    return sorted(taken, key=lambda place: place[0].start())
