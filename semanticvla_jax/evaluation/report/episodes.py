"""Filmed episodes as cards: stills, film, and how to run them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from semanticvla_jax.evaluation.report.media import Budget, data_uri, relative_link, stills
from semanticvla_jax.evaluation.report.rerun import rerun_command
from semanticvla_jax.evaluation.report.runs import Row, Run

FAILURES, SUCCESSES = 12, 6  # cards per run


@dataclass
class Card:
    """One episode.

    Attributes:
      run: its position among the report's runs.
      row: its result.
      rerun: the command, if there is one.
      film: the file; link: its URL from the page.
      strip, poster, video: pictures and the film itself as data URIs, as far as they fit.
    """

    run: int
    row: Row
    rerun: str | None
    film: Path
    link: str
    strip: str | None = None
    poster: str | None = None
    video: str | None = None


def make_cards(runs: Sequence[Run], success: bool, budget: Budget, page: Path) -> list[Card]:
    """Cards of filmed failures or successes of each run; all its tasks have their turn."""
    limit = SUCCESSES if success else FAILURES
    cards = []
    for number, run in enumerate(runs):
        rows = [row for row in run.finished if row["success"] == success and run.video(row)]
        for row in take_turns(rows)[:limit]:
            film = run.video(row)
            card = Card(number, row, rerun_command(run, row), film, relative_link(film, page))
            _add_stills(card, budget)
            cards.append(card)
    return cards


def embed_films(cards: Iterable[Card], budget: Budget) -> None:
    """Puts films into the page, in this order, as far as they fit."""
    for card in cards:
        if card.poster:  # else it is damaged
            size = card.film.stat().st_size
            if 4 * size // 3 <= budget.left:
                card.video = budget.embed(card.film.read_bytes(), "video/mp4")


def further_films(runs: Sequence[Run], cards: Iterable[Card], page: Path) -> list[dict]:
    """Films without a card: {run, row, link}."""
    shown = {card.film for card in cards}
    films = [
        (number, row, run.video(row)) for number, run in enumerate(runs) for row in run.finished
    ]
    return [
        {"run": number, "row": row, "link": relative_link(film, page)}
        for number, row, film in films
        if film and film not in shown
    ]


def take_turns(rows: Iterable[Row]) -> list[Row]:
    """The first row of each task, then the second of each, and so on."""
    tasks: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        tasks[row["suite"], row["task"]].append(row)
    turns = [(turn, task) for task in sorted(tasks) for turn in range(len(tasks[task]))]
    return [tasks[task][turn] for turn, task in sorted(turns)]


def _add_stills(card: Card, budget: Budget) -> None:
    pictures = stills(card.film)
    if pictures and budget.take(4 * (len(pictures.strip) + len(pictures.poster)) // 3):
        card.strip = data_uri(pictures.strip, "image/jpeg")
        card.poster = data_uri(pictures.poster, "image/jpeg")
