"""Pictures of a dataset: a contact sheet of its cameras, histograms of its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from semanticvla_jax.data.checks.cameras import Moment
from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.robots import RobotSpec

TILE, GAP, HEADER = 128, 4, 16
BINS = 60


def save_contact_sheet(
    sample: list[Moment], dataset: EpisodeSource, robot: RobotSpec, path: Path, rows: int = 8
) -> None:
    """One row per episode: first, middle and last frame of every camera, as stored."""
    episodes = list(dict.fromkeys(moment.episode for moment in sample))
    episodes = episodes[:: max(1, -(-len(episodes) // rows))]
    columns = 3 * len(robot.cameras)
    size = columns * (TILE + GAP) + GAP, len(episodes) * (HEADER + TILE + GAP) + HEADER
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for index, camera in enumerate(robot.cameras):
        pen.text((3 * index * (TILE + GAP) + GAP, 2), camera.key, fill="black")
    for row, episode in enumerate(episodes):
        top = HEADER + row * (HEADER + TILE + GAP)
        pen.text((GAP, top + 2), f"{episode}: {dataset.instructions[episode]}", fill="black")
        three = [moment for moment in sample if moment.episode == episode]
        tiles = [moment.images[index] for index in range(len(robot.cameras)) for moment in three]
        for column, image in enumerate(tiles):
            if image is not None:
                tile = Image.fromarray(image)
                tile.thumbnail((TILE, TILE))
                sheet.paste(tile, (GAP + column * (TILE + GAP), top + HEADER))
    sheet.save(path)


def save_histograms(values: np.ndarray, names: tuple[str, ...], units: list[str], path: Path):
    """One histogram per dim of f32[N, D], counts on a logarithmic axis, 1 and 99 % dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * rows))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(0.04, 0.08, 0.99, 0.94, hspace=0.4)
    for dim, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if dim >= len(names):
            axes.axis("off")
            continue
        axes.hist(values[:, dim], bins=BINS, log=True, color="#3b6ea5")
        for quantile in np.quantile(values[:, dim], (0.01, 0.99)):
            axes.axvline(quantile, color="#b03030", linestyle="--", linewidth=1)
        axes.set_ylim(bottom=0.5)
        axes.set_title(f"{names[dim]} [{units[dim]}]", fontsize=8)
        axes.tick_params(labelsize=7)
    figure.savefig(path, dpi=100)
