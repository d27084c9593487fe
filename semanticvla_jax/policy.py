"""A trained policy: raw observation in, actions in the robot's own units out.

The one place where model, image transform, tokenizer and normalisation statistics meet; all of them
come from the checkpoint, so a client never sees a normalised number.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.data.options import DataOptions
from semanticvla_jax.inference import numerics
from semanticvla_jax.inference.compiled import CompiledModel
from semanticvla_jax.inference.mesh import find_compiler
from semanticvla_jax.inference.options import DEFAULTS, InferenceOptions, optimised
from semanticvla_jax.inference.pixels import suitable
from semanticvla_jax.inference.program_cache import keep_programs
from semanticvla_jax.interface import Interface, read_interface
from semanticvla_jax.models import build, lora
from semanticvla_jax.models.attention_maps import aggregation_attention
from semanticvla_jax.robots import RobotSpec, find_robot
from semanticvla_jax.text.tokenizers import PromptTokenizer
from semanticvla_jax.training import checkpoints


@dataclass
class Policy(Interface):
    """An interface and the model behind it.

    Attributes:
      model: the module, without adapters.
      params: the model's parameters.
      options: how the model is run.
    """

    model: Any = field(repr=False)
    params: Any = field(repr=False)
    options: InferenceOptions = field(default=DEFAULTS, repr=False)

    @functools.cached_property
    def compiled(self) -> CompiledModel:
        """The model as programs, compiled when first asked for a batch size, or by `compile`."""
        cameras = len(self.robot.cameras)
        pixels = suitable(self.transform, cameras, self.camera_size)
        return CompiledModel(
            self.model,
            self.params,
            pixels,
            self.example(),
            prompt_lengths=self.options.prompt_lengths,
            compiler=find_compiler(self.options.mesh),
        )

    @functools.cached_property
    def explain(self) -> Callable[[Any, Any], dict[str, Any]]:
        """(params, batch of model inputs) -> the model's intermediates, [B, ...] each."""
        return jax.jit(functools.partial(explained, self.model))

    def compile(self, sizes: Sequence[int]) -> None:
        """Compiles for batches of these sizes, so that no query does."""
        self.compiled.compile(sizes)

    def start_episode(self) -> None:
        """Nothing to forget: an answer depends on its observation alone."""

    def infer(self, observation: Mapping[str, Any]) -> np.ndarray:
        """One observation, as `prepare` takes it, -> f32[K, A] in the controller's units.

        Raises:
          InputError: something is missing, of a wrong shape or dtype, or not finite.
        """
        return self.infer_batch([observation])[0]

    def infer_batch(self, observations: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """B observations -> f32[B, K, A] in the controller's units.

        Compiles once per B. Rows do not see each other, but their last bits depend on B and on the
        longest prompt's length.

        Raises:
          InputError: as `infer`.
        """
        return self.finish(self.compute([self.receive(seen) for seen in observations]))

    def receive(self, observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """One observation -> a row for `compute`; from any thread.

        Raises:
          InputError: as `infer`.
        """
        return self.read(observation, self.compiled.pixels.receive)

    def compute(self, rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Rows of `receive` or `prepare` -> f32[B, K, A] normalised; from any thread."""
        return self.compiled(rows)


def explained(model, params: Any, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
    """The model's intermediates, and where aggregation tokens look if there are some."""
    (_, details), sown = model.apply({"params": params}, batch, mutable="intermediates")
    attention = aggregation_attention(model, sown["intermediates"], batch["images"].shape[1])
    if attention is None:
        return details
    return {**details, "dino": {**details["dino"], "query_attention": attention}}


def stack(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Inputs of B observations as one batch with a leading axis B."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


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


def load_policy(
    checkpoint: str | Path,
    *,
    step: int | None = None,
    dataset: str | None = None,
    untrained: bool = False,
    options: InferenceOptions = DEFAULTS,
    **changes: Any,
) -> Policy:
    """The policy of a training run.

    Args:
      checkpoint: its work directory, or one checkpoint's directory.
      step: which checkpoint; the latest by default.
      dataset: whose normalisation to use; needed when it was trained on several.
      untrained: fresh parameters instead of the stored ones, as a floor to compare with.
      options: how to run it.
      changes: options by name, such as precision="int8".

    Raises:
      InputError: no such checkpoint, or the dataset's statistics are not in it; or options that
        cannot be had.
    """
    options = dataclasses.replace(options, **changes)
    if options.compilation_cache:
        keep_programs(options.compilation_cache)
    compiler = find_compiler(options.mesh)
    opened, step = checkpoints.open_for_reading(checkpoint, step)
    meta = opened.read_meta(step)
    config, robot = meta["config"], find_robot(meta["robot"])
    data = DataOptions.of(config["data"])
    tokenizer = data.tokenizer()
    model = build_model(config["model"], robot, tokenizer)
    init = functools.partial(_init, model, robot, data, tokenizer)
    if untrained:
        params = jax.jit(init)(jax.random.key(config["seed"] + 1))
    else:
        shapes = jax.eval_shape(init, jax.random.key(0))
        params = opened.read_params(step, compiler.placed_shapes(shapes))
    opened.close()
    params = merge_adapters(params, config["model"])
    config = numerics.computing_in(build.for_inference(config["model"]), options.dtype)
    model = build_model(config, robot, tokenizer)
    model, params = optimised(model, params, options)
    params = compiler.place(params)

    label = f"{Path(checkpoint).resolve()}@{'untrained' if untrained else step}"
    interface = read_interface(meta, label, dataset)
    return Policy(**vars(interface), model=model, params=params, options=options)


def merge_adapters(params: dict, config: Mapping[str, Any]) -> dict:
    """Parameters of a model configuration with its adapters, if any, folded into their kernels."""
    if not config.get("lora"):
        return params
    merge = functools.partial(lora.merge, lora=lora.LoRA(**config["lora"]))
    return jax.jit(merge, donate_argnums=0)(params)


def example_batch(robot: RobotSpec, image_size: int, tokenizer: PromptTokenizer) -> dict:
    """A batch of one, all zeros, of the shapes the model takes."""
    shape = (1, len(robot.cameras), image_size, image_size, 3)
    return {
        "images": jnp.zeros(shape, jnp.uint8),
        "state": jnp.zeros((1, robot.state_size), jnp.float32),
        **{name: jnp.asarray(value)[None] for name, value in tokenizer.encode("").items()},
    }


def _init(model, robot, data: DataOptions, tokenizer, key: jax.Array) -> dict:
    batch = example_batch(robot, data.image_size, tokenizer)
    return model.init({"params": key, "noise": key}, batch)["params"]
