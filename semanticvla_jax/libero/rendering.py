"""Offscreen cameras of one simulator, and the settings that trade fidelity for CPU speed."""

from __future__ import annotations

import os
from dataclasses import dataclass

import mujoco
import numpy as np

from semanticvla_jax.libero.looks import Prop

_HIDDEN_GROUP = 4
_ROBOT_PREFIXES = ("robot0", "gripper0", "mount0")
_ROBOT_RGBA = (0.85, 0.85, 0.87, 1.0)
_GRIPPER_RGBA = (0.25, 0.25, 0.27, 1.0)


@dataclass(frozen=True)
class Rendering:
    """How a scene is drawn. Changes pixels, never physics, and only the model it is applied to."""

    name: str
    multisampling: bool = True
    reflections: bool = True
    robot_visual_meshes: bool = True

    def apply(self, model: mujoco.MjModel) -> None:
        if not self.multisampling:
            model.vis.quality.offsamples = 0
        if not self.reflections:
            model.mat_reflectance[:] = 0
        if not self.robot_visual_meshes:
            _draw_robot_with_collision_meshes(model)


ORIGINAL = Rendering("original")
FAST = Rendering("fast", multisampling=False, reflections=False, robot_visual_meshes=False)
RENDERINGS = {rendering.name: rendering for rendering in (FAST, ORIGINAL)}


class Cameras:
    """Renders the named cameras of a model. Opens its OpenGL context on first use.

    Attributes:
      props: things drawn beside those of the model.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData):
        self._model, self._data = model, data
        self.props: list[Prop] = []
        self._gl = self._context = self._scene = None
        self._option = mujoco.MjvOption()
        self._option.geomgroup[0] = 0  # collision geometry
        self._option.geomgroup[1] = 1  # visual geometry
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED

    def render(self, camera: str, width: int, height: int) -> np.ndarray:
        """uint8[height, width, 3], bottom row first like OpenGL's and robosuite's images."""
        self._open(width, height)
        self._camera.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._option,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        for prop in self.props:
            prop.draw(self._scene.geoms[self._scene.ngeom])
            self._scene.ngeom += 1
        viewport = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(viewport, self._scene, self._context)
        pixels = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, viewport, self._context)
        return pixels

    def upload_texture(self, number: int) -> None:
        """Shows the model's pixels of a texture from now on."""
        if self._gl is not None:
            self._gl.make_current()
            mujoco.mjr_uploadTexture(self._model, self._context, number)

    def close(self) -> None:
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
        self._gl = self._context = self._scene = None

    def _open(self, width: int, height: int) -> None:
        buffer = self._model.vis.global_
        if self._gl is not None and (width > buffer.offwidth or height > buffer.offheight):
            self.close()
        if self._gl is None:
            buffer.offwidth = max(width, buffer.offwidth)
            buffer.offheight = max(height, buffer.offheight)
            self._gl = _gl_context(buffer.offwidth, buffer.offheight)
            self._gl.make_current()
            self._scene = mujoco.MjvScene(self._model, maxgeom=2000)
            self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_150)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._gl.make_current()


def _gl_context(width: int, height: int):
    if os.environ.get("MUJOCO_GL") == "egl":
        from mujoco.egl import GLContext
    else:
        from mujoco.osmesa import GLContext
    return GLContext(width, height)


def _draw_robot_with_collision_meshes(model: mujoco.MjModel) -> None:
    visual, collision = 1, 0
    for geom in range(model.ngeom):
        body = model.body(model.geom_bodyid[geom]).name
        if not body.startswith(_ROBOT_PREFIXES):
            continue
        if model.geom_group[geom] == visual:
            model.geom_group[geom] = _HIDDEN_GROUP
        elif model.geom_group[geom] == collision:
            model.geom_group[geom] = visual
            model.geom_rgba[geom] = _GRIPPER_RGBA if body.startswith("gripper0") else _ROBOT_RGBA
            model.geom_matid[geom] = -1
