"""Metrics to JSONL and TensorBoard, without doubled rows after a resume."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tensorboardX import SummaryWriter

from semanticvla_jax.training import distributed


class MetricsWriter:
    """Appends one JSON object per logged step to WORKDIR/metrics.jsonl and to TensorBoard events.

    Rows beyond `resume_step`, written by a run that was killed after its last checkpoint, are
    dropped, because the resumed run writes them again.
    """

    def __init__(self, workdir: str | Path, *, resume_step: int = 0):
        workdir = Path(workdir)
        self._path = workdir / "metrics.jsonl"
        _keep_rows_up_to(self._path, resume_step)
        self._tensorboard = SummaryWriter(str(workdir / "tensorboard"), purge_step=resume_step + 1)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Logs python floats for one step (1 = after the first update)."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")
        for name, value in scalars.items():
            self._tensorboard.add_scalar(name, value, step)

    def close(self) -> None:
        self._tensorboard.close()


class Silence:
    """Stands for a writer in the processes that write nothing."""

    def write(self, step: int, scalars: dict[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


def open_writer(workdir: str | Path, resume_step: int) -> MetricsWriter | Silence:
    """The writer of the leading process, silence in the others."""
    return MetricsWriter(workdir, resume_step=resume_step) if distributed.leads() else Silence()


def read_metrics(path: str | Path) -> list[dict]:
    """Rows of a metrics file; a half-written last line is left out."""
    rows = []
    for line in Path(path).read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _keep_rows_up_to(path: Path, step: int) -> None:
    if not path.exists():
        return
    rows = [row for row in read_metrics(path) if row["step"] <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.replace(temporary, path)
