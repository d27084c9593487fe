"""Changes to what a scene looks like, all of which can be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

if TYPE_CHECKING:
    from semanticvla_jax.libero.rendering import Cameras


@dataclass(frozen=True)
class Prop:
    """A thing that is drawn but not simulated; the robot's hand passes through it.

    Attributes:
      shape: MuJoCo's primitive; size: its three half sizes (m).
      position: of its centre (m, world).
      rgba: colour.
    """

    shape: mujoco.mjtGeom
    size: tuple[float, float, float]
    position: tuple[float, float, float]
    rgba: tuple[float, float, float, float]

    def draw(self, geom: mujoco.MjvGeom) -> None:
        mujoco.mjv_initGeom(
            geom, self.shape, self.size, self.position, np.eye(3).ravel(), self.rgba
        )
        geom.category = mujoco.mjtCatBit.mjCAT_DECOR


class Looks:
    """A model's cameras, lights, colours and textures, and props."""

    def __init__(self, model: mujoco.MjModel, cameras: Cameras):
        self.model, self._cameras = model, cameras
        self._undo: list[tuple[np.ndarray, Any, np.ndarray]] = []
        self._painted: set[int] = set()

    def change(self, array: np.ndarray, index: Any, value: Any) -> None:
        """`array[index] = value` for an array that the model owns."""
        self._undo.append((array, index, np.array(array[index])))
        array[index] = value

    def texture(self, number: int) -> np.ndarray:
        """Copy of a texture's pixels, uint8[height, width, channels]."""
        return self.model.tex_data[self._span(number)].reshape(self._shape(number)).copy()

    def paint(self, number: int, pixels: np.ndarray) -> None:
        """Replaces a texture's pixels, shaped and typed as `texture` returns them."""
        self.change(self.model.tex_data, self._span(number), pixels.reshape(-1))
        self._painted.add(number)
        self._cameras.upload_texture(number)

    def add(self, prop: Prop) -> None:
        self._cameras.props.append(prop)

    def restore(self) -> None:
        """Takes back everything since the model was loaded."""
        while self._undo:
            array, index, value = self._undo.pop()
            array[index] = value
        while self._painted:
            self._cameras.upload_texture(self._painted.pop())
        self._cameras.props.clear()

    def _shape(self, number: int) -> tuple[int, int, int]:
        model = self.model
        return (
            model.tex_height[number],
            model.tex_width[number],
            model.tex_nchannel[number],
        )

    def _span(self, number: int) -> slice:
        start = self.model.tex_adr[number]
        return slice(start, start + int(np.prod(self._shape(number))))
