"""What is varied: image tokens, cameras, chunk length, batch; everything else as configured."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from semanticvla_jax.models import variants
from semanticvla_jax.robots import Camera, RobotSpec, find_robot


@dataclasses.dataclass(frozen=True)
class Point:
    """One model, robot and batch size.

    Attributes:
      axis: in AXES, what is varied.
      value: of it.
      model: complete `config.model`.
      batch: observations per query.
    """

    axis: str
    value: int
    model: dict[str, Any]
    robot: RobotSpec
    batch: int = 1


def _ratio(point: Point) -> Point:
    keep = variants.keep_one_in(point.value)
    model = copy.deepcopy(point.model)
    keep(model)
    return dataclasses.replace(point, model=model)


def _cameras(point: Point) -> Point:
    cameras = tuple(Camera(f"camera_{i}", "one of several") for i in range(point.value))
    robot, model = dataclasses.replace(point.robot, cameras=cameras), copy.deepcopy(point.model)
    for tower in ("siglip", "dino"):
        if "cameras" in model[tower]:  # a table of positions for each
            model[tower]["cameras"] = point.value
    return dataclasses.replace(point, robot=robot, model=model)


def _chunk(point: Point) -> Point:
    model = copy.deepcopy(point.model)
    model["coupler"]["chunk"] = point.value
    robot = dataclasses.replace(point.robot, chunk_length=point.value)
    return dataclasses.replace(point, model=model, robot=robot)


def _batch(point: Point) -> Point:
    return dataclasses.replace(point, batch=point.value)


AXES: dict[str, tuple[str, Callable[[Point], Point]]] = {
    "ratios": ("patches per token", _ratio),
    "cameras": ("cameras", _cameras),
    "chunks": ("actions per query", _chunk),
    "batches": ("observations per query", _batch),
}


def points(
    config: Any, model: dict[str, Any], values: Mapping[str, Sequence[int]]
) -> Iterator[Point]:
    """All points of {axis: values}, in that order.

    Args:
      config: whose `robot` is taken.
      model: complete `config.model`.
    """
    robot = find_robot(config.robot)
    for axis, chosen in values.items():
        for value in chosen:
            yield AXES[axis][1](Point(axis, value, model, robot))
