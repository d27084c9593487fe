"""Data, model, optimizer and compiled steps of one run, on one mesh; its state to disk and back."""

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
from semanticvla_jax.training import distributed, optimizer, parameters, sharding, validation
from semanticvla_jax.training.faults import naming_what_was_read
from semanticvla_jax.training.initial import initial_parameters
from semanticvla_jax.training.same_run import check_same_configuration
from semanticvla_jax.training.step import TrainState, group_weights, make_train_step
from semanticvla_jax.training.stored import DamagedCheckpoint


class Trainer:
    """Everything of a run but its loop.

    Attributes:
      shapes, shardings: of all parameters.
      selected: {name: whether it is trained}.
      state_shapes, state_shardings: a TrainState of each.
      step_function: compiled (state, frozen, batch) -> (state, metrics); consumes the state.
    """

    def __init__(self, config: ml_collections.ConfigDict, workdir: str | Path):
        self.config, self.workdir = config, Path(workdir)
        self.robot = robots.find_robot(config.robot)
        self.mesh = sharding.make_mesh(**config.mesh)
        index, count = sharding.batch_share(self.mesh)
        self.data = loading.open_training_data(
            config.data,
            self.robot,
            config.batch_size,
            config.seed,
            shard_index=index,
            shard_count=count,
        )
        self.model = policy.build_model(config.model.to_dict(), self.robot, self.data.tokenizer)
        self.example = policy.example_batch(self.robot, config.data.image_size, self.data.tokenizer)
        self._check_accumulation()
        self._plan_parameters()
        self._plan_state()
        self._compile()

    def _check_accumulation(self) -> None:
        size, parts = self.config.batch_size, self.config.get("accumulate_steps", 1)
        if parts < 1 or size % (parts * self.mesh.shape["data"] * self.mesh.shape["fsdp"]):
            raise InputError(
                "config.accumulate_steps",
                found=f"{size} samples in {parts} parts on {dict(self.mesh.shape)}",
                expected="parts that divide over the devices of data and fsdp",
                fix="change config.accumulate_steps, config.batch_size or config.mesh",
            )

    def _plan_parameters(self) -> None:
        key = jax.random.key(self.config.seed)
        groups = self.config.optimizer.groups
        self.selected = optimizer.trainable_names(jax.eval_shape(self._init_model, key), groups)
        self.shapes = jax.eval_shape(self._init, key)
        self.shardings = sharding.parameter_shardings(self.shapes, self.mesh)

    def _plan_state(self) -> None:
        trainable, _ = parameters.split(self.shapes, self.selected)
        placed, _ = parameters.split(self.shardings, self.selected)
        self.optimizer, self.rate = optimizer.build(
            self.config.optimizer, trainable, total_steps=self.config.total_steps
        )
        state = jax.eval_shape(self.optimizer.init, trainable)
        averages = bool(self.config.get("ema_decay", 0.0))
        self.state_shapes = TrainState(
            jax.ShapeDtypeStruct((), jnp.int32), trainable, state, trainable if averages else None
        )
        self.state_shardings = TrainState(
            sharding.replicated(self.mesh),
            placed,
            sharding.like(state, trainable, self.mesh, placed),
            placed if averages else None,
        )

    def _init_model(self, key: jax.Array) -> dict:
        return self.model.init({"params": key, "noise": key}, self.example)["params"]

    def _init(self, key: jax.Array) -> dict:
        """Fresh parameters; trained ones are f32, whatever precision the model gives them.

        Adam's small updates would be lost in bf16; parts compute in their own precision anyway.
        """
        trainable, frozen = parameters.split(self._init_model(key), self.selected)
        return parameters.merge(
            jax.tree.map(lambda leaf: leaf.astype(jnp.float32), trainable), frozen
        )

    def _compile(self) -> None:
        weights = group_weights(self.robot, self.config.loss_weights)
        step = make_train_step(
            self.model,
            self.optimizer,
            self.rate,
            loss_weights=weights,
            robot=self.robot,
            seed=self.config.seed,
            accumulate_steps=self.config.get("accumulate_steps", 1),
            ema_decay=self.config.get("ema_decay", 0.0),
        )
        one_copy = sharding.replicated(self.mesh)
        self.step_function = jax.jit(
            step, donate_argnums=0, out_shardings=(self.state_shardings, one_copy)
        )
        self._validation_step = jax.jit(
            validation.make_validation_step(self.model, loss_weights=weights, robot=self.robot),
            out_shardings=one_copy,
        )

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
          InputError: all are damaged, or the newest was written under another configuration.
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
          InputError: it was written under another configuration.
        """
        stored = checkpoints.read_meta(step)["config"]
        check_same_configuration(stored, as_json(self.config), self.workdir)
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
        return naming_what_was_read(iter(self.data), self.data)

    def validate(self, state: TrainState, frozen: dict) -> dict[str, float]:
        """{'validation/loss': ...} on the same held-out samples every time.

        Raises:
          InputError: no episode is held out.
        """
        batches = self.data.validation_batches(
            self.config.validation_batches, self.config.batch_size
        )
        return validation.validate(self._validation_step, state, frozen, batches, self.mesh)


def _set_aside(checkpoints: ckpt.Checkpoints, damaged: dict[int, str]) -> None:
    for step, error in damaged.items():
        aside = checkpoints.set_aside(step)
        if distributed.leads():
            print(f"checkpoint {step} is damaged ({error}): moved to {aside}", flush=True)


def as_json(config: ml_collections.ConfigDict) -> dict:
    """A configuration as plain JSON values (tuples become lists)."""
    return json.loads(config.to_json())
