"""A plain LIBERO evaluation, in the manner of the usual scripts. The engine is compared with it.

    python -m benchmarks.evaluation.sequential --checkpoint DIR --suite libero_object --out FILE

One environment at a time, built anew for each task, reset the hard way (robosuite's default),
both cameras rendered by robosuite after every step, the policy asked for one observation. Settings
that change what is seen or done are the engine's, so that both must do the same to the last bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os

import numpy as np

from semanticvla_jax.evaluation.arguments import chosen_tasks
from semanticvla_jax.libero.boot import boot
from semanticvla_jax.libero.suites import MAX_STEPS, official_states

DUMMY_ACTION = [0.0, 0, 0, 0, 0, 0, -1]
CAMERAS = {"image": "agentview", "wrist_image": "robot0_eye_in_hand"}


def build_env(task):
    from libero.libero.envs.env_wrapper import ControlEnv

    # robosuite's camera observables would draw the same two images one physics step (2 ms)
    # too early to compare; `look` draws them with its renderer after the step instead.
    return ControlEnv(
        bddl_file_name=str(task.bddl_path),
        use_camera_obs=False,
        has_offscreen_renderer=False,
        ignore_done=True,
    )


def reset(control, state: np.ndarray, seed: list[int], rendering) -> None:
    from robosuite.utils.binding_utils import MjRenderContextOffscreen

    np.random.seed(seed)
    control.env.reset()  # a new model, so also a new renderer
    sim = control.env.sim
    rendering.apply(sim.model._model)
    MjRenderContextOffscreen(sim, device_id=-1).vopt.geomgroup[0] = 0
    sim.set_state_from_flattened(state)
    sim.data.qacc_warmstart[:] = 0  # of the scene before
    sim.forward()


def look(env, size: int) -> dict[str, np.ndarray]:
    from robosuite.utils.transform_utils import convert_quat, quat2axisangle

    images = {
        name: np.ascontiguousarray(
            env.sim.render(width=size, height=size, camera_name=camera)[::-1, ::-1]
        )
        for name, camera in CAMERAS.items()
    }
    robot, data = env.robots[0], env.sim.data
    quaternion = convert_quat(data.get_body_xquat(robot.robot_model.eef_name), to="xyzw")
    state = [
        data.site_xpos[robot.eef_site_id],
        quat2axisangle(quaternion),
        data.qpos[robot._ref_gripper_joint_pos_indexes],
    ]
    return {**images, "state": np.concatenate(state).astype(np.float32)}


def run_episode(env, policy, instruction: str, max_steps: int) -> tuple[bool, np.ndarray]:
    for _ in range(10):
        env.step(DUMMY_ACTION)
        observation = look(env, policy.camera_size)
    done: list[np.ndarray] = []
    queue: list[np.ndarray] = []
    success = False
    while len(done) < max_steps and not success:
        if not queue:
            queue = list(policy.infer({**observation, "instruction": instruction}))
        action = queue.pop(0)
        _, _, success, _ = env.step(action.astype(np.float64))
        observation = look(env, policy.camera_size)
        done.append(action)
    return bool(success), np.array(done, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--checkpoint", required=True)
    add("--suite", required=True)
    add("--tasks", default="all")
    add("--episodes", type=int, default=50)
    add("--max_steps", type=int)
    add("--rendering", default="fast", choices=("fast", "original"))
    add("--assets")
    add("--out", required=True)
    arguments = parser.parse_args()
    boot(arguments.assets)
    from semanticvla_jax.libero.rendering import RENDERINGS
    from semanticvla_jax.policy import load_policy

    rendering, policy = RENDERINGS[arguments.rendering], load_policy(arguments.checkpoint)
    with open(arguments.out, "w") as file:
        for task in chosen_tasks(arguments.suite, arguments.tasks):
            control = build_env(task)
            limit = arguments.max_steps or MAX_STEPS[task.suite]
            for index, state in enumerate(official_states(task)[: arguments.episodes]):
                reset(control, state, [1, 0, index], rendering)
                success, actions = run_episode(control.env, policy, task.instruction, limit)
                row = {
                    "suite": task.suite,
                    "task": task.index,
                    "placement": f"official:{index}",
                    "success": success,
                    "steps": len(actions),
                    "actions_digest": hashlib.sha256(actions.tobytes()).hexdigest()[:12],
                }
                file.write(json.dumps(row) + "\n")
                file.flush()
            control.close()
            del control
    os._exit(0)  # robosuite's renderers complain when the interpreter collects them


if __name__ == "__main__":
    main()
