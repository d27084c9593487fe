"""robosuite's control step, bit for bit the same states, without what it computes several times.

In each of the 25 physics steps of a control step, `robosuite.environments.base.MujocoEnv.step` runs
MuJoCo's whole forward pass three times on one state. Position, velocity and collisions come out
the same each time and are computed once here. The constraint solver is run as often as there,
because each run starts from the solution of the one before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import mujoco
import numpy as np


class ControlStep:
    """Steps one LIBERO environment with a single arm and no enabled observables."""

    def __init__(self, env):
        """Takes a robosuite environment that LIBERO built and that is not rebuilt (soft resets)."""
        (self._robot,) = env.robots
        self._env, self._sim = env, env.sim
        self._model, self._data = env.sim.model._model, env.sim.data._data
        self._substeps = int(env.control_timestep / env.model_timestep)
        self._arm = list(self._robot._ref_joint_actuator_indexes)
        self._arm_limits = self._robot.torque_limits
        self._gripper = list(self._robot._ref_joint_gripper_actuator_indexes)
        low, high = self._model.actuator_ctrlrange[self._gripper].T
        self._gripper_middle, self._gripper_reach = 0.5 * (high + low), 0.5 * (high - low)

    def __call__(self, action: np.ndarray) -> bool:
        """Advances 50 ms under f64[7] (arm, gripper); True when the task's goal holds."""
        arm, gripper = np.split(action, [self._robot.controller.control_dim])
        with self._forward_is_solving():
            for substep in range(self._substeps):
                mujoco.mj_step1(self._model, self._data)
                self._solve()
                if substep == 0:
                    self._robot.controller.set_goal(arm)
                self._actuate(gripper)
                mujoco.mj_step2(self._model, self._data)
        self._env._post_action(action)
        return bool(self._env._check_success())

    def _actuate(self, gripper: np.ndarray) -> None:
        torques = self._robot.controller.run_controller()
        opening = self._robot.gripper.format_action(gripper)
        self._data.ctrl[self._gripper] = self._gripper_middle + self._gripper_reach * opening
        self._data.ctrl[self._arm] = np.clip(torques, *self._arm_limits)

    def _solve(self) -> None:
        mujoco.mj_forwardSkip(self._model, self._data, mujoco.mjtStage.mjSTAGE_VEL, True)

    @contextlib.contextmanager
    def _forward_is_solving(self) -> Iterator[None]:
        """The controller asks for a forward pass before it reads the state."""
        self._sim.forward = self._solve
        try:
            yield
        finally:
            del self._sim.forward
