"""One picture of a dataset: first, middle and last frame of some episodes, both cameras."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from data.libero_expert.episode import Episode

LARGEST_ROW_COUNT = 8
TILE, GAP, HEADER = 128, 4, 16


def contact_sheet(episodes: Sequence[Episode]) -> bytes:
    """A PNG file with one row per episode: main camera x 3, then wrist camera x 3."""
    width = 6 * TILE + 7 * GAP
    row_height = HEADER + TILE + GAP
    sheet = Image.new("RGB", (width, len(episodes) * row_height + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for row, episode in enumerate(episodes):
        top = row * row_height + GAP
        pen.text((GAP, top), f"{episode.instruction} ({len(episode)} steps)", fill="black")
        moments = (0, len(episode) // 2, len(episode) - 1)
        files = [camera[t] for camera in (episode.image, episode.wrist_image) for t in moments]
        for column, file in enumerate(files):
            tile = Image.open(io.BytesIO(file)).convert("RGB").resize((TILE, TILE))
            sheet.paste(tile, (GAP + column * (TILE + GAP), top + HEADER))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def spread(items: Sequence, count: int = LARGEST_ROW_COUNT) -> list:
    """At most `count` items, evenly spread over `items`."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]
