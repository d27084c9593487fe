"""Metrics to JSONL and TensorBoard, without doubled rows after a resume; to W&B when asked."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from semanticvla_jax.training import distributed
from semanticvla_jax.training.weights_and_biases import WeightsAndBiases


class Writer(Protocol):
    """Where metrics go."""

    def write(self, step: int, scalars: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class MetricsWriter:
    """Appends one JSON object per logged step to WORKDIR/metrics.jsonl and to TensorBoard events.

    Rows beyond `resume_step`, written by a run that was killed after its last checkpoint, are
    dropped, because the resumed run writes them again.
    """

    def __init__(self, workdir: str | Path, *, resume_step: int = 0):
        workdir = Path(workdir)
        self._path = workdir / "metrics.jsonl"
        _keep_rows_up_to(self._path, resume_step)
        self._tensorboard = _TensorBoard(workdir / "tensorboard", resume_step + 1)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Logs python floats for one step (1 = after the first update)."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")
        self._tensorboard.write(step, scalars)

    def close(self) -> None:
        self._tensorboard.close()


class _TensorBoard:
    """Writes events as they come. `SummaryWriter` writes them in a thread; when that dies of a full
    disk, its queue fills and the training waits for ever."""

    def __init__(self, directory: Path, first_step: int):
        """Steps from `first_step` on replace what earlier files say of them."""
        directory.mkdir(exist_ok=True)
        self._events = EventsWriter(str(directory / "events"))
        begin = SessionLog(status=SessionLog.START)
        self._events.write_event(Event(wall_time=time.time(), step=first_step, session_log=begin))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        summary = Summary(value=values)
        self._events.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._events.flush()

    def close(self) -> None:
        self._events.close()


class Writers:
    """Writes to all of several, to none if there are none."""

    def __init__(self, writers: Sequence[Writer] = ()):
        self._writers = tuple(writers)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        for writer in self._writers:
            writer.write(step, scalars)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def open_writer(workdir: str | Path, resume_step: int, config: dict) -> Writers:
    """The writers of the leading process, none in the others.

    Args:
      workdir: of the run.
      resume_step: rows after it will be written again.
      config: of the run, JSON-able; its "wandb" names a project of Weights & Biases, or none.

    Raises:
      InputError: W&B is asked for, and is not installed or knows no account.
    """
    if not distributed.leads():
        return Writers()
    project = config.get("wandb")
    asked_for = [WeightsAndBiases(project, workdir, config)] if project else []
    return Writers([MetricsWriter(workdir, resume_step=resume_step), *asked_for])


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
