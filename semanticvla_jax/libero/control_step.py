"""robosuite's control step, bit for bit the same states, without what it computes several times.

In each of the 25 physics steps of a control step, `robosuite.environments.base.MujocoEnv.step` runs
MuJoCo's whole forward pass three times on one state, and the controller computes the hand's
Jacobian four times. Position, velocity, collisions and Jacobian come out the same each time and are
computed once here. The constraint solver is run as often as there, because each run starts from
the solution of the one before.
"""

from __future__ import annotations

import mujoco
import numpy as np


class ControlStep:
    """Steps one LIBERO environment with a single arm, OSC_POSE and no enabled observables."""

    def __init__(self, env):
        """Takes a robosuite environment that LIBERO built and that is not rebuilt (soft resets)."""
        (self._robot,) = env.robots
        self._env, self._model, self._data = env, env.sim.model._model, env.sim.data._data
        self._substeps = int(env.control_timestep / env.model_timestep)
        self._arm = list(self._robot._ref_joint_actuator_indexes)
        self._arm_limits = self._robot.torque_limits
        self._gripper = list(self._robot._ref_joint_gripper_actuator_indexes)
        low, high = self._model.actuator_ctrlrange[self._gripper].T
        self._gripper_middle, self._gripper_reach = 0.5 * (high + low), 0.5 * (high - low)

    def __call__(self, action: np.ndarray) -> bool:
        """Advances 50 ms under f64[7] (arm, gripper); True when the task's goal holds."""
        controller = self._robot.controller
        arm, gripper = np.split(action, [controller.control_dim])
        for substep in range(self._substeps):
            mujoco.mj_step1(self._model, self._data)
            self._solve()
            if controller.new_update:  # not in the very first step after a reset
                self._solve()
                self._read(controller)
            if substep == 0:
                controller.set_goal(arm)
            self._actuate(controller.run_controller(), gripper)
            mujoco.mj_step2(self._model, self._data)
        self._env._post_action(action)
        return bool(self._env._check_success())

    def _solve(self) -> None:
        mujoco.mj_forwardSkip(self._model, self._data, mujoco.mjtStage.mjSTAGE_VEL, True)

    def _read(self, controller) -> None:
        """`controller.update()`, which then has nothing to do."""
        model, data = self._model, self._data
        site = self._robot.eef_site_id
        translation, rotation = np.zeros((2, 3, model.nv))
        mujoco.mj_jacSite(model, data, translation, rotation, site)
        inertia = np.empty((model.nv, model.nv))
        mujoco.mj_fullM(model, inertia, data.qM)
        joints = controller.qvel_index
        controller.ee_pos = data.site_xpos[site].copy()
        controller.ee_ori_mat = data.site_xmat[site].reshape(3, 3).copy()
        controller.ee_pos_vel = translation @ data.qvel
        controller.ee_ori_vel = rotation @ data.qvel
        controller.joint_pos = data.qpos[controller.qpos_index]
        controller.joint_vel = data.qvel[joints]
        controller.J_pos, controller.J_ori = translation[:, joints], rotation[:, joints]
        controller.J_full = np.concatenate([controller.J_pos, controller.J_ori])
        controller.mass_matrix = inertia[joints][:, joints]
        controller.new_update = False

    def _actuate(self, torques: np.ndarray, gripper: np.ndarray) -> None:
        opening = self._robot.gripper.format_action(gripper)
        self._data.ctrl[self._gripper] = self._gripper_middle + self._gripper_reach * opening
        self._data.ctrl[self._arm] = np.clip(torques, *self._arm_limits)
