"""What a run computes, without its data: parameters and their places, optimizer, compiled steps."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh, NamedSharding

from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import RobotSpec
from semanticvla_jax.training import optimizer, parameters, sharding, validation
from semanticvla_jax.training.step import TrainState, group_weights, make_train_step


class Program:
    """A configuration's model, optimizer and steps on a mesh.

    Nothing is allocated, and the mesh's devices may be descriptions of devices elsewhere.

    Attributes:
      shapes, shardings: of all parameters.
      selected: {name: whether it is trained}.
      state_shapes, state_shardings: a TrainState of each.
      step_function: jitted (state, frozen, batch) -> (state, metrics); consumes the state.
      validation_step: jitted (state, frozen, batch) -> metrics.

    Args:
      example: a batch of any size, as the model takes it.

    Raises:
      InputError: settings that disagree with each other or with the mesh.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        robot: RobotSpec,
        model,
        example: Mapping[str, jax.Array],
        mesh: Mesh,
    ):
        self.config, self.robot, self.mesh = config, robot, mesh
        self.model, self.example = model, example
        self._check_accumulation()
        self._plan_parameters()
        self._plan_state()
        self._compile()

    def abstract_arguments(self) -> tuple[TrainState, dict, dict]:
        """Shapes and places of the step's arguments: (state, frozen parameters, batch)."""
        _, frozen = parameters.split(self.shapes, self.selected)
        _, placed = parameters.split(self.shardings, self.selected)
        actions = (1, self.robot.chunk_length, len(self.robot.action_names))
        samples = {**self.example, "actions": jax.ShapeDtypeStruct(actions, jnp.float32)}
        split = NamedSharding(self.mesh, sharding.BATCH)
        batch = {
            name: jax.ShapeDtypeStruct(
                (self.config.batch_size, *leaf.shape[1:]), leaf.dtype, sharding=split
            )
            for name, leaf in samples.items()
        }
        state = jax.tree.map(_placed, self.state_shapes, self.state_shardings)
        return state, jax.tree.map(_placed, frozen, placed), batch

    def init(self, key: jax.Array) -> dict:
        """Fresh parameters; trained ones are f32, whatever precision the model gives them.

        Adam's small updates would be lost in bf16; parts compute in their own precision anyway.
        """
        trainable, frozen = parameters.split(self._init_model(key), self.selected)
        return parameters.merge(
            jax.tree.map(lambda leaf: leaf.astype(jnp.float32), trainable), frozen
        )

    def _init_model(self, key: jax.Array) -> dict:
        return self.model.init({"params": key, "noise": key}, self.example)["params"]

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
        self.shapes = jax.eval_shape(self.init, key)
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
        validate = validation.make_validation_step(
            self.model, loss_weights=weights, robot=self.robot
        )
        one_copy, options = sharding.replicated(self.mesh), sharding.compiler_options(self.mesh)
        self.step_function = jax.jit(
            sharding.keep_batch_split(step, self.mesh),
            donate_argnums=0,
            out_shardings=(self.state_shardings, one_copy),
            compiler_options=options,
        )
        self.validation_step = jax.jit(
            sharding.keep_batch_split(validate, self.mesh),
            out_shardings=one_copy,
            compiler_options=options,
        )


def _placed(leaf, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
