"""Trains a policy.

    python -m semanticvla_jax.train --config configs/NAME.py --workdir DIR [--config.x=y]

Rerunning the same command continues from the last checkpoint. Priority: a checkpoint in --workdir,
else the parameters in config.init_from (a directory written by `semanticvla_jax.convert` or another
run's --workdir; what it lacks is initialised), else from scratch. The finished parameters do not
depend on interruptions.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags
from tqdm import tqdm

from semanticvla_jax import policy, robots
from semanticvla_jax.data import loading
from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.training import checkpoints as ckpt
from semanticvla_jax.training import (
    host_memory,
    metrics,
    optimizer,
    parameters,
    pictures,
    sharding,
)
from semanticvla_jax.training.initial import initial_parameters
from semanticvla_jax.training.step import TrainState, group_weights, make_train_step

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file.", lock_config=True)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of this run: checkpoints, metrics, pictures."
)


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite; the last checkpoint is from before."""


class Trainer:
    """Data, model, optimizer and compiled step of one run, on one mesh."""

    def __init__(self, config: ml_collections.ConfigDict, workdir: str | Path):
        self.config, self.workdir = config, Path(workdir)
        self.robot = robots.find_robot(config.robot)
        self.data = loading.open_training_data(
            config.data, self.robot, config.batch_size, config.seed
        )
        self.model = policy.build_model(config.model.to_dict(), self.robot, self.data.tokenizer)
        self.mesh = sharding.make_mesh(**config.mesh)
        self.example = policy.example_batch(self.robot, config.data.image_size, self.data.tokenizer)
        self._plan_parameters()
        self.step_function = self._compile()

    def _plan_parameters(self) -> None:
        self.shapes = jax.eval_shape(self._init, jax.random.key(self.config.seed))
        self.shardings = sharding.parameter_shardings(self.shapes, self.mesh)
        self.selected = optimizer.trainable_names(self.shapes, self.config.optimizer.groups)
        trainable, _ = parameters.split(self.shapes, self.selected)
        self.optimizer, self.rate = optimizer.build(
            self.config.optimizer, trainable, total_steps=self.config.total_steps
        )
        self.optimizer_shapes = jax.eval_shape(self.optimizer.init, trainable)
        trainable_shardings, _ = parameters.split(self.shardings, self.selected)
        self.optimizer_shardings = sharding.like(
            self.optimizer_shapes, trainable, self.mesh, trainable_shardings
        )

    def _init(self, key: jax.Array) -> dict:
        return self.model.init({"params": key, "noise": key}, self.example)["params"]

    def _compile(self):
        step = make_train_step(
            self.model,
            self.optimizer,
            self.rate,
            loss_weights=group_weights(self.robot, self.config.loss_weights),
            robot=self.robot,
            seed=self.config.seed,
        )
        return jax.jit(step, donate_argnums=0)

    def initial(self) -> tuple[TrainState, dict]:
        """First (state, frozen parameters), created in their final sharding."""
        params = initial_parameters(
            self._init,
            jax.random.key(self.config.seed),
            self.shapes,
            self.shardings,
            self.config.get("init_from"),
        )
        trainable, frozen = parameters.split(params, self.selected)
        optimizer_state = jax.jit(self.optimizer.init, out_shardings=self.optimizer_shardings)(
            trainable
        )
        return TrainState(jnp.zeros((), jnp.int32), trainable, optimizer_state), frozen

    def restored(self, checkpoints: ckpt.Checkpoints, step: int) -> tuple[TrainState, dict]:
        """(state, frozen parameters) of a checkpoint of this run; moves the data to its position.

        Raises:
          InputError: the checkpoint was written under another configuration.
        """
        stored = checkpoints.read_meta(step)["config"]
        ckpt.check_same_configuration(stored, as_json(self.config), self.workdir)
        params, optimizer_state, position = checkpoints.restore(
            step,
            params=ckpt.abstract(self.shapes, self.shardings),
            optimizer=ckpt.abstract(self.optimizer_shapes, self.optimizer_shardings),
        )
        self.data.set_state(position)
        trainable, frozen = parameters.split(params, self.selected)
        return TrainState(jnp.asarray(step, jnp.int32), trainable, optimizer_state), frozen

    def save(self, checkpoints: ckpt.Checkpoints, state: TrainState, frozen: dict, position: dict):
        checkpoints.save(
            int(state.step),
            params=parameters.merge(state.trainable, frozen),
            optimizer=state.optimizer,
            data=position,
            meta={
                "config": as_json(self.config),
                "robot": self.robot.name,
                "statistics": self.data.statistics,
                "dataset": self.data.description,
                "camera_size": self.data.camera_size,
            },
        )


def as_json(config: ml_collections.ConfigDict) -> dict:
    """A configuration as plain JSON values (tuples become lists)."""
    return json.loads(config.to_json())


def train(config: ml_collections.ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Runs or continues a training run to `config.total_steps`.

    Returns:
      The last step's metrics.

    Raises:
      InputError: bad data, bad configuration, or a checkpoint of another configuration.
      NonFiniteLoss: names the step; no checkpoint is written after it.
    """
    host_memory.keep_freed_memory()
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, workdir)
    with contextlib.closing(ckpt.Checkpoints(workdir, keep=config.keep_checkpoints)) as checkpoints:
        start = checkpoints.latest_step() or 0
        if start:
            logging.info("continuing from step %d in %s", start, workdir)
            state, frozen = trainer.restored(checkpoints, start)
        else:
            state, frozen = trainer.initial()
            pictures.save_batch(trainer.data.peek()[0], trainer.robot, workdir / "first_batch.png")
        (workdir / "config.json").write_text(json.dumps(as_json(config), indent=2))
        trainable, total = parameters.count(state.trainable), parameters.count(trainer.shapes)
        print(f"parameters: {total:,} ({trainable:,} trainable); {trainer.data.description}")
        with contextlib.closing(metrics.MetricsWriter(workdir, resume_step=start)) as writer:
            return run_steps(trainer, state, frozen, checkpoints, writer, start)


def run_steps(trainer, state, frozen, checkpoints, writer, start: int) -> dict[str, float]:
    """The loop. Each step's loss is read after the next one has been dispatched, so the device
    never waits, and nothing is saved before every loss up to it was seen to be finite."""
    config, batches, last = trainer.config, iter(trainer.data), {}
    pending = None
    bar = tqdm(
        total=config.total_steps, initial=start, unit="step", mininterval=2.0, smoothing=0.05
    )
    began = time.monotonic()
    for step in range(start + 1, config.total_steps + 1):
        batch = sharding.put_batch(next(batches), trainer.mesh)
        state, step_metrics = trainer.step_function(state, frozen, batch)
        if pending:
            check_finite(*pending)
        pending = (step, step_metrics)
        logs, saves = step % config.log_every == 0, step % config.checkpoint_every == 0
        if logs or saves or step == config.total_steps:
            last = check_finite(*pending)
            pending = None
        if logs:
            rate = (step - start) * config.batch_size / (time.monotonic() - began)
            writer.write(step, last | {"samples_per_second": rate})
            bar.set_postfix_str(f"loss {last['loss']:.3f}, {rate:.0f} samples/s")
        if saves or step == config.total_steps:
            trainer.save(checkpoints, state, frozen, trainer.data.get_state())
        bar.update()
    bar.close()
    return last


def check_finite(step: int, step_metrics: dict) -> dict[str, float]:
    """Fetches a step's metrics.

    Raises:
      NonFiniteLoss: with the step and every metric.
    """
    values = {name: float(value) for name, value in step_metrics.items()}
    if not math.isfinite(values["loss"]):
        raise NonFiniteLoss(
            f"loss is {values['loss']} at step {step} ({values}). The last checkpoint is from "
            "before; lower config.optimizer.learning_rate or check the dataset, then rerun."
        )
    return values


@exit_on_input_error
def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise InputError(
            "command line", found=argv[1:], expected="flags only", fix="see --helpfull"
        )
    if not _WORKDIR.value:
        raise InputError(
            "--workdir", found="nothing", expected="a directory", fix="add --workdir DIR"
        )
    try:
        last = train(_CONFIG.value, _WORKDIR.value)
    except NonFiniteLoss as error:
        raise SystemExit(f"error: {error}") from None
    if last:
        print(f"finished: step {_CONFIG.value.total_steps}, loss {last['loss']:.4f}")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
