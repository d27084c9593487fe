"""Conversions as a whole: foreign checkpoints into ours, ours into foreign layouts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from semanticvla_jax.errors import InputError
from semanticvla_jax.models import abstract, lora
from semanticvla_jax.models.build import build
from semanticvla_jax.robots import find_robot
from semanticvla_jax.training import checkpoints as ckpt
from semanticvla_jax.training import sharding
from semanticvla_jax.weights import export_layouts, import_report, importing
from semanticvla_jax.weights.streaming import Progress

CAMERA_SIZE = 256  # pixels of the images in the released datasets


@dataclass
class Converted:
    """Parameters, perhaps not all, and what is stored beside them.

    Attributes:
      params: nested dict of arrays.
      meta: configuration, robot, statistics, as `training.checkpoints` keeps them.
      fresh: names of parameters that the sources lack.
    """

    params: dict
    meta: dict[str, Any]
    fresh: list[str]

    @property
    def adapter(self) -> lora.LoRA | None:
        arguments = self.meta["config"]["model"].get("lora")
        return lora.LoRA(**arguments) if arguments else None

    def merged(self) -> Converted:
        """With its adapters folded into the kernels, and a configuration without adapters."""
        if self.adapter is None:
            raise InputError(
                "--merge_lora",
                found="a model without adapters",
                expected="an entry `lora` in the model's configuration",
                fix="leave the flag out",
            )
        config = self.meta["config"]
        config = {**config, "model": {**config["model"], "lora": None}}
        fresh = [name for name in self.fresh if "/lora_" not in name]
        params = lora.merge(self.params, self.adapter)
        return Converted(params, {**self.meta, "config": config}, fresh)


def import_foreign(
    requests: list[tuple[str, Path]], config: Mapping[str, Any], *, accept_differences: bool
) -> Converted:
    """Imports (format, path) pairs into the model of a configuration, and prints the account.

    Raises:
      InputError: see `importing.open_checkpoints`, `refuse_differences`, `rules.plan`.
    """
    robot = find_robot(config["robot"])
    model_config = abstract.complete(config)
    model = build(model_config)
    shapes = abstract.init(model, abstract.abstract_batch(model_config, robot, 1))
    opened = importing.open_checkpoints(requests, model)
    if not accept_differences:
        importing.refuse_differences(opened.differences)
    targets, report = importing.plan_import(opened, shapes)
    print(import_report.text(opened, targets, report, shapes), flush=True)
    shardings = sharding.parameter_shardings(shapes, one_copy())
    sizes = [math.prod(target.shape) * target.dtype.itemsize for target in targets]
    with progress_bar("read", sum(sizes)) as advance:
        params, _ = importing.load(opened, shapes, shardings, advance)
    meta = {
        "config": config,
        "robot": robot.name,
        "statistics": opened.statistics,
        "dataset": "converted from " + ", ".join(f"{name} {path}" for name, path in requests),
        "camera_size": CAMERA_SIZE,
        "fresh": report.fresh,
    }
    return Converted(params, meta, report.fresh)


def read_ours(path: Path, step: int | None) -> Converted:
    """A checkpoint of ours: a run's --workdir, one of its steps, or a converted one.

    Raises:
      InputError: see `checkpoints.open_for_reading`.
    """
    opened, step = ckpt.open_for_reading(path, step)
    meta, shapes = opened.read_meta(step), opened.params_shapes(step)
    placed = ckpt.abstract(shapes, sharding.parameter_shardings(shapes, one_copy()))
    params = opened.read_params(step, placed)
    opened.close()
    return Converted(params, meta, meta.get("fresh", []))


def write_ours(converted: Converted, folder: Path) -> None:
    """Orbax parameters and `meta`, as a step 0."""
    checkpoints = ckpt.Checkpoints(folder)
    checkpoints.save_params(
        0, params=converted.params, meta={**converted.meta, "fresh": converted.fresh}
    )
    checkpoints.close()


def write_foreign(converted: Converted, layout: str, folder: Path, shard_bytes: float) -> None:
    """Safetensors in another layout.

    Raises:
      InputError: parameters are missing, or the layout has no place for some.
    """
    missing = [name for name in converted.fresh if "/lora_" not in name]
    if missing:
        raise InputError(
            f"export to the layout '{layout}'",
            found=f"{len(missing)} parameters without a value, e.g. {missing[0]}",
            expected="a complete model",
            fix="train it first, or add a source that has them",
        )
    chosen = export_layouts.LAYOUTS[layout]
    arrays = chosen.arrays(converted.params)
    llm = converted.meta["config"]["model"]["llm"]
    beside = export_layouts.Beside(llm, converted.adapter, converted.meta.get("statistics"))
    with progress_bar("written", sum(a.nbytes for a in arrays.values())) as advance:
        chosen.write(folder, arrays, beside, shard_bytes, advance)
    print(f"wrote {len(arrays)} arrays in the layout '{layout}'")


@contextlib.contextmanager
def progress_bar(what: str, total: int) -> Iterator[Progress]:
    """A bar over bytes; yields what is called with each array's name and size."""
    with tqdm(total=total, desc=what, unit="B", unit_scale=True, mininterval=1.0) as bar:

        def advance(name: str, size: int) -> None:
            bar.set_postfix_str(name[-40:], refresh=False)
            bar.update(size)

        yield advance


def one_copy() -> jax.sharding.Mesh:
    """All devices, each holding its part of the parameters."""
    return sharding.make_mesh(data=1, fsdp=jax.device_count())
