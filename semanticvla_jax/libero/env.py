"""A LIBERO task as an environment: raw actions in, observations as in the public datasets out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.boot import boot, prepare_process, use_assets
from semanticvla_jax.libero.suites import WAIT_STEPS, Task

if TYPE_CHECKING:
    from semanticvla_jax.libero.assets.resolve import Assets
    from semanticvla_jax.libero.rendering import Rendering

ACTION_SIZE = 7
SETTLE_ACTION = np.array([0.0, 0, 0, 0, 0, 0, -1])
CAMERAS = {"image": "agentview", "wrist_image": "robot0_eye_in_hand"}
_SAMPLING_ATTEMPTS = 100


class Placement(Protocol):
    """How an episode starts; `key` names it uniquely in results and datasets."""

    @property
    def key(self) -> str: ...

    def apply(self, env: LiberoEnv) -> None: ...


class LiberoEnv:
    """One LIBERO task, simulated at 20 Hz with robosuite's OSC_POSE controller.

    Episodes are deterministic: a placement and a sequence of actions give bit-identical states,
    whatever ran in this environment before. Rendering happens in `observe` only.

    Attributes:
      task, assets, seed, image_size: as given.
      env: LIBERO's robosuite environment; sim: its MjSim.
      goal_state: parsed BDDL goal, e.g. [['in', 'alphabet_soup_1', 'basket_1_contain_region']].
      instruction: the language command; a placement may put it in other words.
      looks: changes to cameras, lights and surfaces, which end with the episode.
    """

    def __init__(
        self,
        task: Task,
        *,
        image_size: int = 256,
        rendering: Rendering | None = None,
        assets: Assets | None = None,
        seed: int = 0,
    ):
        if assets is None:
            assets = boot()
        else:
            prepare_process()
            use_assets(assets)
        from semanticvla_jax.libero.control_step import ControlStep
        from semanticvla_jax.libero.looks import Looks
        from semanticvla_jax.libero.rendering import FAST, Cameras

        self.task, self.assets, self.seed, self.image_size = task, assets, seed, image_size
        self.rendering = FAST if rendering is None else rendering
        with _seeded_numpy([seed]):
            self.env = _build_robosuite_env(task)
        self.sim, self._step = self.env.sim, ControlStep(self.env)
        for name in self.env.observation_names:  # `observe` reads the simulator directly
            self.env.modify_observable(name, "enabled", False)
        model, data = self.sim.model._model, self.sim.data._data
        self.rendering.apply(model)
        self._body_pose = model.body_pos.copy(), model.body_quat.copy()
        self._cameras = Cameras(model, data)
        self.looks, self.instruction = Looks(model, self._cameras), task.instruction

    @property
    def goal_state(self) -> list[list[str]]:
        return self.env.parsed_problem["goal_state"]

    def reset(self, placement: Placement) -> None:
        """Starts an episode as `placement` says, then lets it settle for the 10 wait steps."""
        placement.apply(self)
        for _ in range(WAIT_STEPS):
            self._step(SETTLE_ACTION)

    def step(self, action: np.ndarray) -> bool:
        """Advances 50 ms; True when the task's goal holds.

        Args:
          action: f[7], translation deltas / 0.05 m, world-frame rotation deltas / 0.5 rad (both
            clipped to [-1, 1] by the controller), gripper: -1 opens, +1 closes.
        Raises:
          InputError: wrong shape or a value that is not finite.
        """
        return self._step(validate_action(action))

    def observe(self, images: bool = True) -> dict[str, np.ndarray]:
        """Observation named and laid out as one step of the public `*_no_noops` datasets.

        Read at the end of the control step; robosuite's own observables, from which the public
        datasets were recorded, are sampled one 2 ms physics step earlier (below 1 mm, 0.01 rad).

        Returns:
          image, wrist_image: uint8[image_size, image_size, 3], rotated by 180 degrees relative
            to the simulator's render (only if `images`).
          state: f32[8], end-effector position (m), axis-angle of its xyzw quaternion in
            robosuite's convention (rad, angle in [0, 2 pi)), two gripper joint positions (m).
          joint_state: f32[7], arm joint angles (rad).
        """
        from robosuite.utils.transform_utils import convert_quat, quat2axisangle

        robot, data = self.env.robots[0], self.sim.data
        quaternion = convert_quat(data.get_body_xquat(robot.robot_model.eef_name), to="xyzw")
        state = np.concatenate(
            [
                data.site_xpos[robot.eef_site_id],
                quat2axisangle(quaternion),
                data.qpos[robot._ref_gripper_joint_pos_indexes],
            ]
        ).astype(np.float32)
        observation = {name: self.render(camera) for name, camera in CAMERAS.items() if images}
        joints = data.qpos[robot._ref_joint_pos_indexes].astype(np.float32)
        return {**observation, "state": state, "joint_state": joints}

    def render(self, camera: str = "agentview", size: int | None = None) -> np.ndarray:
        """uint8[size, size, 3] of one camera, rotated by 180 degrees as in `observe`."""
        size = size or self.image_size
        return np.ascontiguousarray(self._cameras.render(camera, size, size)[::-1, ::-1])

    def sample_scene(self, entropy: Sequence[int]) -> None:
        """Resets robot, fixtures, objects, looks and words with the task's own BDDL sampler."""
        from robosuite.utils.errors import RandomizationError

        self.looks.restore()
        self.instruction = self.task.instruction
        model = self.sim.model
        model.body_pos[:], model.body_quat[:] = self._body_pose
        gripper = self.env.robots[0].gripper
        gripper.current_action = np.zeros(gripper.dof)  # outlives robosuite's own soft reset
        with _seeded_numpy(entropy):
            for _ in range(_SAMPLING_ATTEMPTS):
                with contextlib.suppress(RandomizationError):
                    self.env.reset()
                    return
        raise RuntimeError(f"no valid scene of {self.task.name} in {_SAMPLING_ATTEMPTS} samples")

    def set_state(self, state: np.ndarray) -> None:
        """Puts the simulator into f64[1 + nq + nv]: time, qpos, qvel.

        Raises:
          InputError: the state is of another scene or of other assets.
        """
        size = 1 + self.sim.model.nq + self.sim.model.nv
        if np.shape(state) != (size,):
            raise InputError(
                f"simulator state of {self.task.name}",
                found=f"shape {np.shape(state)}",
                expected=f"shape ({size},)",
                fix="use states and assets of this task",
            )
        self.sim.set_state_from_flattened(np.asarray(state))
        self.sim.data.qacc_warmstart[:] = 0  # the solver's memory of the scene before
        self.sim.forward()

    def close(self) -> None:
        self._cameras.close()
        self.env.close()


def validate_action(action: Any) -> np.ndarray:
    """`action` as f64[7].

    Raises:
      InputError: wrong shape or a value that is not finite.
    """
    array = np.asarray(action, dtype=np.float64)
    if array.shape != (ACTION_SIZE,):
        raise InputError(
            "robot action",
            found=f"shape {array.shape}",
            expected=f"shape ({ACTION_SIZE},)",
            fix="send one action: xyz, rotation, gripper",
        )
    if not np.isfinite(array).all():
        raise InputError(
            "robot action",
            found=array.tolist(),
            expected="finite numbers",
            fix="look for NaN in the policy's output or its normalisation statistics",
        )
    return array


def _build_robosuite_env(task: Task):
    from libero.libero.envs.env_wrapper import ControlEnv

    # No robosuite renderer: `Cameras` draws, and only when asked. Soft resets equal hard ones here
    # because `sample_scene` restores what robosuite forgets.
    control = ControlEnv(
        bddl_file_name=str(task.bddl_path),
        use_camera_obs=False,
        has_offscreen_renderer=False,
        hard_reset=False,
        ignore_done=True,
    )
    return control.env


@contextlib.contextmanager
def _seeded_numpy(entropy: Sequence[int]) -> Iterator[None]:
    """Seeds numpy's global generator, which LIBERO's samplers use, and restores it afterwards."""
    saved = np.random.get_state()
    np.random.seed(list(entropy))
    try:
        yield
    finally:
        np.random.set_state(saved)
