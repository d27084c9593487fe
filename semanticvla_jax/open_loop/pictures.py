"""Plots of predicted and demonstrated actions over time, and of the error over steps ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from semanticvla_jax.open_loop.predict import Prediction
from semanticvla_jax.robots import RobotSpec

COLUMNS = 2
DEMONSTRATED, CHUNK, FIRST = "black", "#c1453d", "#3b6ea5"


def save_episode(prediction: Prediction, robot: RobotSpec, path: Path) -> None:
    """One plot per action dim, in its unit, over seconds.

    Black: demonstrated. Red: every K-th chunk whole, as it would be executed. Blue dots: the first
    action of every chunk.
    """
    chunk = robot.chunk_length
    figure = _figure(-(-robot.action_size // COLUMNS), COLUMNS)
    steps = len(prediction.demonstrated)
    seconds = np.arange(steps) / robot.control_rate
    for dim, axes in enumerate(figure.axes):
        if dim >= robot.action_size:
            axes.axis("off")
            continue
        first = prediction.predicted[:, 0, dim]
        axes.plot(seconds, first, ".", color=FIRST, markersize=3, label="first of each chunk")
        for start in range(0, steps, chunk):
            shown = min(chunk, steps - start)
            label = f"every {chunk}th chunk" if start == 0 else None
            answers = prediction.predicted[start, :shown, dim]
            axes.plot(seconds[start : start + shown], answers, color=CHUNK, label=label)
        demonstrated = prediction.demonstrated[:, dim]
        axes.plot(seconds, demonstrated, color=DEMONSTRATED, linewidth=1, label="demonstrated")
        dimension = robot.action[dim]
        axes.set_title(f"{dimension.name} [{dimension.unit}]", fontsize=8)
    figure.axes[0].legend(fontsize=7)
    figure.suptitle(f"episode {prediction.episode}: {prediction.instruction}", fontsize=9)
    figure.supxlabel("s", fontsize=8)
    figure.savefig(path, dpi=100)


def save_errors(summary: dict[str, Any], path: Path) -> None:
    """The normalised error of every group over steps ahead; dashed: a constant answer's."""
    figure = _figure(1, 1)
    (axes,) = figure.axes
    for group, errors in summary["groups"].items():
        ahead = np.arange(1, len(errors["by_step"]) + 1)
        (line,) = axes.plot(ahead, errors["by_step"], marker="o", label=group)
        axes.axhline(errors["constant"], color=line.get_color(), linestyle="--", linewidth=1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step of the chunk", fontsize=8)
    axes.set_ylabel("mean absolute error, normalised", fontsize=8)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=100)


def _figure(rows: int, columns: int):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * columns, 1.2 + 1.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.tick_params(labelsize=7)
    return figure
