"""A run's program with its data; its state to disk and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections

from semanticvla_jax import policy, robots
from semanticvla_jax.data import loading
from semanticvla_jax.errors import InputError
from semanticvla_jax.training import checkpoints as ckpt
from semanticvla_jax.training import distributed, parameters, sharding, validation
from semanticvla_jax.training.initial import initial_parameters
from semanticvla_jax.training.program import Program
from semanticvla_jax.training.same_run import check_same_configuration, check_same_data
from semanticvla_jax.training.step import TrainState
from semanticvla_jax.training.stored import DamagedCheckpoint


class Trainer(Program):
    """Everything of a run but its loop: the program, its data and its checkpoints."""

    def __init__(self, config: ml_collections.ConfigDict, workdir: str | Path):
        self.workdir = Path(workdir)
        robot, mesh = robots.find_robot(config.robot), sharding.make_mesh(**config.mesh)
        index, count = sharding.batch_share(mesh)
        self.data = loading.open_training_data(
            config.data,
            robot,
            config.batch_size,
            config.seed,
            shard_index=index,
            shard_count=count,
        )
        model = policy.build_model(config.model.to_dict(), robot, self.data.tokenizer)
        example = policy.example_batch(robot, config.data.image_size, self.data.tokenizer)
        super().__init__(config, robot, model, example, mesh)

    def initial(self) -> tuple[TrainState, dict]:
        """First (state, frozen parameters), created in their final sharding."""
        params = initial_parameters(
            self.init,
            jax.random.key(self.config.seed),
            self.shapes,
            self.shardings,
            self.config.get("init_from"),
        )
        trainable, frozen = parameters.split(params, self.selected)
        averages = self.state_shapes.average is not None

        def first(trainable):
            average = jax.tree.map(jnp.copy, trainable) if averages else None
            step = jnp.zeros((), jnp.int32)
            return TrainState(step, trainable, self.optimizer.init(trainable), average)

        return jax.jit(first, out_shardings=self.state_shardings)(trainable), frozen

    def continued(self, checkpoints: ckpt.Checkpoints) -> tuple[TrainState, dict]:
        """(state, frozen parameters) of the newest checkpoint that is whole.

        Damaged ones after it are moved aside, and said so; if none is whole, none is touched.

        Raises:
          InputError: all are damaged, or the newest is of another configuration or other data.
        """
        damaged: dict[int, str] = {}
        for step in checkpoints.steps():
            try:
                found = self.restored(checkpoints, step)
            except DamagedCheckpoint as error:
                damaged[step] = str(error.found)
            else:
                _set_aside(checkpoints, damaged)
                return found
        raise InputError(
            f"checkpoints in {self.workdir}",
            found="; ".join(f"step {step}: {error}" for step, error in damaged.items()),
            expected="one that can be read",
            fix="repair what keeps them from being read, or start again with another --workdir",
        )

    def restored(self, checkpoints: ckpt.Checkpoints, step: int) -> tuple[TrainState, dict]:
        """(state, frozen parameters) of a checkpoint of this run; moves the data to its position.

        Raises:
          DamagedCheckpoint: it cannot be read or was changed.
          InputError: it was written under another configuration or with other data.
        """
        meta = checkpoints.read_meta(step)
        check_same_configuration(meta["config"], as_json(self.config), self.workdir)
        check_same_data(meta["statistics"], self.data.statistics)
        state = ckpt.abstract(self.state_shapes, self.state_shardings)
        found = checkpoints.restore(
            step,
            params=ckpt.abstract(self.shapes, self.shardings),
            optimizer=state.optimizer,
            average=state.average,
        )
        self.data.set_state(found.data)
        trainable, frozen = parameters.split(found.params, self.selected)
        counter = jax.device_put(jnp.asarray(step, jnp.int32), self.state_shardings.step)
        return TrainState(counter, trainable, found.optimizer, found.average), frozen

    def save(self, checkpoints: ckpt.Checkpoints, state: TrainState, frozen: dict) -> None:
        """Starts to save; training may continue at once."""
        checkpoints.save(
            int(state.step),
            params=parameters.merge(state.trainable, frozen),
            optimizer=state.optimizer,
            average=state.average,
            data=self.data.get_state(),
            meta={
                "config": as_json(self.config),
                "robot": self.robot.name,
                "statistics": self.data.statistics,
                "dataset": self.data.description,
                "camera_size": self.data.camera_size,
            },
        )

    def batches(self) -> Iterator[dict]:
        """This process's parts of the batches from the current position on, on the host."""
        return iter(self.data)

    def validate(self, state: TrainState, frozen: dict) -> dict[str, float]:
        """{'validation/loss': ...} on the same held-out samples every time.

        Raises:
          InputError: no episode is held out.
        """
        batches = self.data.validation_batches(
            self.config.validation_batches, self.config.batch_size
        )
        return validation.validate(self.validation_step, state, frozen, batches, self.mesh)


def _set_aside(checkpoints: ckpt.Checkpoints, damaged: dict[int, str]) -> None:
    for step, error in damaged.items():
        aside = checkpoints.set_aside(step)
        if distributed.leads():
            print(f"checkpoint {step} is damaged ({error}): moved to {aside}", flush=True)


def as_json(config: ml_collections.ConfigDict) -> dict:
    """A configuration as plain JSON values (tuples become lists)."""
    return json.loads(config.to_json())
