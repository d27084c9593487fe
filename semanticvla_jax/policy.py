"""A trained policy: raw observation in, actions in the robot's own units out.

The one place where model, image transform, tokenizer and normalisation statistics meet; all of them
come from the checkpoint, so a client never sees a normalised number.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.data import normalization
from semanticvla_jax.data.options import DataOptions
from semanticvla_jax.data.transforms import ImageTransform
from semanticvla_jax.errors import InputError
from semanticvla_jax.models import build, lora
from semanticvla_jax.robots import RobotSpec, find_robot
from semanticvla_jax.text.tokenizers import PromptTokenizer
from semanticvla_jax.training import checkpoints


@dataclass
class Policy:
    """Maps observations to action chunks.

    Attributes:
      label: what results call it.
      robot: cameras, state and action conventions.
      camera_size: pixels of the square camera images it was trained on; render at this size.
      chunk: K, actions per inference.
    """

    label: str
    robot: RobotSpec
    camera_size: int
    chunk: int
    transform: ImageTransform = field(repr=False)
    tokenizer: PromptTokenizer = field(repr=False)
    statistics: normalization.DatasetStatistics = field(repr=False)
    params: Any = field(repr=False)
    forward: Any = field(repr=False)

    def infer(self, observation: Mapping[str, Any]) -> np.ndarray:
        """One observation -> f32[K, A] in the controller's units.

        Args:
          observation: one uint8[H, W, 3] per camera of the robot (rotated as in the datasets),
            `state` f32[S] raw, and `instruction`, a sentence.

        Raises:
          InputError: something is missing, of a wrong shape or dtype, or not finite.
        """
        batch = {name: value[None] for name, value in self.prepare(observation).items()}
        actions = np.asarray(self.forward(self.params, batch))[0]
        return self.finish(actions)

    def prepare(self, observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """One observation -> the model's inputs without the batch axis."""
        check_observation(observation, self.robot)
        images = [self.transform.rollout(observation[name]) for name in self.robot.camera_names]
        bounds = self.statistics.proprio.bounds(self.robot.normalisation)
        return {
            "images": np.stack(images),
            "state": bounds.normalize(np.asarray(observation["state"])).astype(np.float32),
            **self._encode(observation["instruction"]),
        }

    def finish(self, actions: np.ndarray) -> np.ndarray:
        """Normalised f32[..., A] -> the controller's units."""
        bounds = self.statistics.action.bounds(self.robot.normalisation)
        return self.robot.gripper.to_environment(bounds.unnormalize(actions)).astype(np.float32)

    @functools.cached_property
    def _encode(self):
        return functools.lru_cache(maxsize=256)(self.tokenizer.encode)


def build_model(config: Mapping[str, Any], robot: RobotSpec, tokenizer: PromptTokenizer):
    """The model of `config.model`, with sizes that robot and tokenizer determine filled in.

    Raises:
      InputError: an unknown slot, or numbers that disagree.
    """
    config = copy.deepcopy(dict(config))
    rows = config["llm"]["vocab_size"]  # may hold action words behind the tokenizer's
    config["llm"]["vocab_size"] = max(rows, tokenizer.vocabulary_size)
    config["coupler"] |= {
        "chunk": robot.chunk_length,
        "bos_id": tokenizer.bos_id,
        "stop_id": tokenizer.eos_id,
    }
    text = config["pruners"].get("text_encoder")
    if text:
        text |= {"vocab_size": tokenizer.text_vocabulary_size, "length": tokenizer.text_length}
    return build.build(config)


def check_observation(observation: Mapping[str, Any], robot: RobotSpec) -> None:
    """Raises InputError unless `observation` is complete for the robot, and finite."""
    wanted = (*robot.camera_names, "state", "instruction")
    missing = [name for name in wanted if name not in observation]
    if missing:
        raise InputError(
            "observation",
            found=f"keys {sorted(observation)}",
            expected=f"{', '.join(wanted)} for the robot '{robot.name}'",
            fix=f"add {', '.join(missing)}",
        )
    for name in robot.camera_names:
        image = np.asarray(observation[name])
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise InputError(
                f"observation['{name}']",
                found=f"{image.dtype}{list(image.shape)}",
                expected="uint8[H, W, 3]",
                fix="send the raw RGB camera image",
            )
    state = np.asarray(observation["state"])
    if state.shape != (robot.state_size,) or not np.isfinite(state).all():
        raise InputError(
            "observation['state']",
            found=f"{state.tolist()} of shape {state.shape}",
            expected=f"{robot.state_size} finite numbers: {', '.join(robot.state_names)}",
            fix="send the raw proprioceptive state",
        )


def load_policy(
    checkpoint: str | Path,
    *,
    step: int | None = None,
    dataset: str | None = None,
    untrained: bool = False,
) -> Policy:
    """The policy of a training run.

    Args:
      checkpoint: its work directory, or one checkpoint's directory.
      step: which checkpoint; the latest by default.
      dataset: whose normalisation to use; needed when it was trained on several.
      untrained: fresh parameters instead of the stored ones, as a floor to compare with.

    Raises:
      InputError: no such checkpoint, or the dataset's statistics are not in it.
    """
    opened, step = checkpoints.open_for_reading(checkpoint, step)
    meta = opened.read_meta(step)
    config, robot = meta["config"], find_robot(meta["robot"])
    options = DataOptions.of(config["data"])
    tokenizer = options.tokenizer()
    model = build_model(config["model"], robot, tokenizer)
    init = functools.partial(_init, model, robot, options, tokenizer)
    if untrained:
        params = jax.jit(init)(jax.random.key(config["seed"] + 1))
    else:
        params = opened.read_params(step, jax.eval_shape(init, jax.random.key(0)))
    opened.close()
    params = merge_adapters(params, config["model"])
    model = build_model({**config["model"], "lora": None}, robot, tokenizer)

    @jax.jit
    def forward(params, batch):
        return model.apply({"params": params}, batch)[0]

    return Policy(
        label=f"{Path(checkpoint).resolve()}@{'untrained' if untrained else step}",
        robot=robot,
        camera_size=meta["camera_size"],
        chunk=robot.chunk_length,
        transform=options.image_transform(),
        tokenizer=tokenizer,
        statistics=_choose_statistics(normalization.from_json(meta["statistics"]), dataset),
        params=params,
        forward=forward,
    )


def merge_adapters(params: dict, config: Mapping[str, Any]) -> dict:
    """Parameters of a model configuration with its adapters, if any, folded into their kernels."""
    if not config.get("lora"):
        return params
    merge = functools.partial(lora.merge, lora=lora.LoRA(**config["lora"]))
    return jax.jit(merge, donate_argnums=0)(params)


def _choose_statistics(
    statistics: Mapping[str, normalization.DatasetStatistics], dataset: str | None
) -> normalization.DatasetStatistics:
    if dataset is None and len(statistics) == 1:
        return next(iter(statistics.values()))
    if dataset is None:
        raise InputError(
            "dataset whose normalisation to use",
            found="none named",
            expected=f"one of {sorted(statistics)}",
            fix="name the dataset the policy is to act like",
        )
    return normalization.find_statistics(statistics, dataset)[1]


def example_batch(robot: RobotSpec, image_size: int, tokenizer: PromptTokenizer) -> dict:
    """A batch of one, all zeros, of the shapes the model takes."""
    shape = (1, len(robot.cameras), image_size, image_size, 3)
    return {
        "images": jnp.zeros(shape, jnp.uint8),
        "state": jnp.zeros((1, robot.state_size), jnp.float32),
        **{name: jnp.asarray(value)[None] for name, value in tokenizer.encode("").items()},
    }


def _init(model, robot, options: DataOptions, tokenizer, key: jax.Array) -> dict:
    batch = example_batch(robot, options.image_size, tokenizer)
    return model.init({"params": key, "noise": key}, batch)["params"]
