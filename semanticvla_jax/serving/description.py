"""What a client is told when it connects: all it needs to know to act for this robot."""

from __future__ import annotations

from typing import Any

from semanticvla_jax.robots import Dimension
from semanticvla_jax.serving.served_policy import BatchedPolicy


def describe(served: BatchedPolicy) -> dict[str, Any]:
    """The metadata message, msgpack-able."""
    policy, robot = served.policy, served.policy.robot
    return {
        "policy": served.label,
        "robot": robot.name,
        "cameras": [
            {
                "name": camera.key,
                "description": camera.description,
                "height": policy.camera_size,
                "width": policy.camera_size,
            }
            for camera in robot.cameras
        ],
        "camera_size": policy.camera_size,
        "state": [_dimension(dimension) for dimension in robot.state],
        "actions": [_dimension(dimension) for dimension in robot.action],
        "action_frame": robot.action_frame,
        "absolute": robot.absolute,
        "grippers": list(robot.action_kinds.get("gripper", ())),
        "chunk": policy.chunk,
        "control_rate": robot.control_rate,
        **served.terms,
    }


def _dimension(dimension: Dimension) -> dict[str, str]:
    return {"name": dimension.name, "unit": dimension.unit}
