"""Trains a policy.

    python -m semanticvla_jax.train --config configs/NAME.py --workdir DIR [--config.x=y]

Rerunning the same command continues from the last checkpoint. Priority: a checkpoint in --workdir,
else the parameters in config.init_from (a directory written by `semanticvla_jax.convert` or another
run's --workdir; what it lacks is initialised), else from scratch. The finished parameters do not
depend on interruptions. Several processes join by themselves: see `training/distributed.py`.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.training import checkpoints as ckpt
from semanticvla_jax.training import distributed, host_memory, metrics, parameters, pictures
from semanticvla_jax.training.faults import NonFiniteLoss, naming_a_full_disk
from semanticvla_jax.training.loop import run_steps
from semanticvla_jax.training.preemption import Preempted
from semanticvla_jax.training.trainer import Trainer, as_json

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file.", lock_config=True)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of this run: checkpoints, metrics, pictures."
)
_STOPPED_STATUS = flags.DEFINE_integer(
    "stopped_status", 0, "Exit status of a run that SIGTERM stopped: saved, but not finished."
)


def train(config: ml_collections.ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Runs or continues a training run to `config.total_steps`.

    Returns:
      The last step's metrics.

    Raises:
      InputError: bad data, bad configuration, a checkpoint of another configuration, or one that
        could not be written.
      NonFiniteLoss: names the step; no checkpoint is written after it.
      Preempted: SIGTERM came; what was done is saved.
    """
    host_memory.keep_freed_memory()
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, workdir)
    with (
        naming_a_full_disk(workdir),
        contextlib.closing(ckpt.Checkpoints(workdir, keep=config.keep_checkpoints)) as checkpoints,
    ):
        if checkpoints.steps():
            state, frozen = trainer.continued(checkpoints)
            logging.info("continuing from step %d in %s", int(state.step), workdir)
        else:
            state, frozen = trainer.initial()
        if distributed.leads():
            describe(trainer, fresh=not checkpoints.steps())
        writer = metrics.open_writer(workdir, int(state.step), as_json(config))
        with contextlib.closing(writer):
            return run_steps(trainer, state, frozen, checkpoints, writer)


def describe(trainer: Trainer, *, fresh: bool) -> None:
    """Writes the configuration and, of a fresh run, its first batch; prints sizes."""
    workdir = trainer.workdir
    (workdir / "config.json").write_text(json.dumps(as_json(trainer.config), indent=2))
    if fresh:
        pictures.save_batch(trainer.data.peek()[0], trainer.robot, workdir / "first_batch.png")
    trainable = parameters.count(trainer.state_shapes.trainable)
    total = parameters.count(trainer.shapes)
    print(f"parameters: {total:,} ({trainable:,} trainable); {trainer.data.description}")


@distributed.fails_at_once
@exit_on_input_error
def main(argv: list[str]) -> int:
    """Returns the exit status of a run that finished or was stopped."""
    if len(argv) > 1:
        raise InputError(
            "command line", found=argv[1:], expected="flags only", fix="see --helpfull"
        )
    if not _WORKDIR.value:
        raise InputError(
            "--workdir", found="nothing", expected="a directory", fix="add --workdir DIR"
        )
    distributed.join()
    try:
        last = train(_CONFIG.value, _WORKDIR.value)
    except NonFiniteLoss as error:
        raise SystemExit(f"error: {error}") from None
    except Preempted as stopped:
        print(f"{stopped}; the same command continues")
        return _STOPPED_STATUS.value
    if last:
        print(f"finished: step {_CONFIG.value.total_steps}, loss {last['loss']:.4f}")
    return 0


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
