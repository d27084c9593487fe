"""Metrics to Weights & Biases, for configurations that name a project; the package is optional.

Whose account, the run's name, tags and mode are W&B's own variables: WANDB_API_KEY, WANDB_ENTITY,
WANDB_NAME, WANDB_TAGS, and WANDB_MODE=offline for machines without a network.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import logging

from semanticvla_jax.errors import InputError

SECONDS_TO_FINISH = 30  # for the last rows to be sent; they stay in the work directory anyway


class WeightsAndBiases:
    """Logs rows to one run of a project, which later runs of the training continue.

    Steps after the last checkpoint come again after a kill; W&B keeps their first values, which
    are the same. Once a run has begun, nothing that goes wrong here reaches the training.
    """

    def __init__(self, project: str, workdir: str | Path, config: dict):
        """
        Args:
          project: of W&B.
          workdir: holds the run's id, and W&B's files.
          config: JSON-able, shown with the run.

        Raises:
          InputError: the package is not installed, or W&B does not know who is logging.
        """
        self._run = _begin(_package(), project, Path(workdir), config)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Logs python floats for one step (1 = after the first update)."""
        self._attempt("log", scalars, step=step)

    def close(self) -> None:
        self._attempt("finish")
        self._run = None

    def _attempt(self, what: str, *args, **kwargs) -> None:
        if self._run is None:
            return
        try:
            getattr(self._run, what)(*args, **kwargs)
        except Exception as error:  # a logger must never end a training
            logging.warning("no more logging to Weights & Biases: %s", error)
            self._run = None


def _package() -> ModuleType:
    try:
        import wandb
    except ImportError:
        raise InputError(
            "config.wandb",
            found="no package wandb",
            expected="it installed, since the configuration names a project",
            fix="`pip install -r requirements/wandb.txt`, or --config.wandb=''",
        ) from None
    return wandb


def _begin(wandb: ModuleType, project: str, workdir: Path, config: dict) -> Any:
    """A run; kept in the work directory for later where W&B cannot be reached."""
    arguments = dict(
        project=project,
        id=_run_id(workdir / "wandb_id"),
        resume="allow",
        dir=str(workdir),
        config=config,
        settings=wandb.Settings(console="off", finish_timeout=SECONDS_TO_FINISH),
    )
    try:
        return wandb.init(**arguments)
    except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
        raise InputError(
            "Weights & Biases",
            found=error,
            expected="a login",
            fix="run `wandb login` or set WANDB_API_KEY; WANDB_MODE=offline needs none",
        ) from error
    except wandb.errors.Error as error:
        logging.warning("Weights & Biases cannot be reached: %s", error)
        print(f"Weights & Biases cannot be reached; `wandb sync` sends {workdir / 'wandb'} later")
        wandb.teardown()  # its service still holds the run's id
        return wandb.init(**arguments, mode="offline")


def _run_id(file: Path) -> str:
    if not file.exists():
        file.write_text(secrets.token_hex(4))
    return file.read_text()
