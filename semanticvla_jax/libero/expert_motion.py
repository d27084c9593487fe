"""Feedback laws of the hand: every action is computed from the simulator's current state.

Action f64[7] = [dxyz / 0.05 m, world-frame axis-angle / 0.5 rad, gripper], clipped to [-1, 1];
gripper +1 closes. The controller is a soft one: an action of 1 moves about 15 mm per 20 Hz step.
Motions are generators: they yield an action, the caller steps the environment (it may disturb
the action), and the motion goes on from wherever the hand then is.
"""

from __future__ import annotations

from collections.abc import Generator

import mujoco
import numpy as np

OPEN, CLOSED = -1.0, 1.0
UP = np.array([0.0, 0.0, 1.0])
WRIST_MIDDLE = np.array([-np.sqrt(0.5), np.sqrt(0.5), 0.0])  # jaw axis far from both wrist limits

POSITION_SCALE = 0.05  # m of goal displacement per unit action
ROTATION_SCALE = 0.5  # rad of goal rotation per unit action
POSITION_GAIN = 2.0
ROTATION_GAIN = 1.5

TIP_BELOW_SITE = 0.012  # m from the grip site down to the finger tips
WAYPOINT_SPACING = 0.06  # m along a transit
TRANSIT_TOLERANCE = 0.012  # m at the end of a transit
STALL_STEPS = 8  # a motion ends when its error has not improved for so many steps
STALL_PROGRESS = 0.001  # m; what counts as an improvement
ROTATION_AS_DISTANCE = 0.05  # m per rad, to add both errors up for stall detection
FUNNEL_RADIUS = 0.008  # m of sideways error at which an approach starts to slow down
FUNNEL_SLOPE = 2.5  # m of distance kept per m of sideways error beyond the radius

Motion = Generator[np.ndarray, None, bool]


def axis_angle(rotation: np.ndarray) -> np.ndarray:
    """Rotation matrix f64[3, 3] to axis-angle f64[3] with an angle of at most pi."""
    quaternion, vector = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quaternion, rotation.flatten())
    mujoco.mju_quat2Vel(vector, quaternion if quaternion[0] >= 0 else -quaternion, 1.0)
    return vector


def pointing_down(yaw: float) -> np.ndarray:
    """Hand rotation with the hand pointing down and the jaw axis at world angle `yaw`."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])


def pointing_along(direction: np.ndarray, jaw_axis: np.ndarray) -> np.ndarray:
    """Hand rotation with z = `direction` and x = `jaw_axis` (orthonormal f64[3])."""
    return np.stack([jaw_axis, np.cross(direction, jaw_axis), direction], axis=1)


def leaning(away: np.ndarray, angle: float, jaw_hint: np.ndarray = WRIST_MIDDLE) -> np.ndarray:
    """Hand rotation that leans by `angle` rad from pointing down towards `away`, jaws level.

    away: horizontal unit f64[3]. jaw_hint: f64[3]; of the two ways to hold the symmetric jaws, the
    one whose jaw axis has more of this direction.
    """
    forward = -np.sin(angle) * away - np.cos(angle) * UP
    jaw_axis = np.cross(away, UP)
    if jaw_axis @ jaw_hint < 0:
        jaw_axis = -jaw_axis
    return pointing_along(forward, jaw_axis)


def jaw_yaw(rotation: np.ndarray) -> float:
    """World angle of the jaw axis of a hand rotation."""
    return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def closest_equivalent_yaw(yaw: float, rotation: np.ndarray) -> float:
    """`yaw` or its half-turn, whichever the wrist can reach and is nearer to the present one.

    Jaws are symmetric under half-turns. The wrist stays within [-23, 203] degrees.
    """
    candidates = [yaw + turn * np.pi for turn in (-2, -1, 0, 1, 2)]
    reachable = [c for c in candidates if -0.4 < c < np.pi + 0.4]
    present = jaw_yaw(rotation)
    return min(reachable, key=lambda c: abs(np.angle(np.exp(1j * (c - present)))))


def servo_action(
    position_error: np.ndarray,
    rotation_error: np.ndarray,
    gripper: float,
    speed: float = 1.0,
    rotation_gain: float = ROTATION_GAIN,
) -> np.ndarray:
    """Proportional law, f64[7]. Translation keeps its direction when limited to `speed`.

    position_error: f64[3] in m; rotation_error: axis-angle f64[3] in rad; speed: largest |dxyz|.
    """
    translation = position_error * POSITION_GAIN / POSITION_SCALE
    translation = translation * min(1.0, speed / max(np.abs(translation).max(), 1e-9))
    turning = np.clip(rotation_error * rotation_gain / ROTATION_SCALE, -1.0, 1.0)
    return np.concatenate([translation, turning, [gripper]])


class Progress:
    """Notices when an error has stopped shrinking."""

    def __init__(self) -> None:
        self.best, self.steps_since = np.inf, 0

    def stalled(self, error: float) -> bool:
        if error < self.best - STALL_PROGRESS:
            self.best, self.steps_since = error, 0
        else:
            self.steps_since += 1
        return self.steps_since >= STALL_STEPS


class Arm:
    """The moving hand: a scene to look at and the gripper command that all motions share.

    `start_position` is where the hand was at first, a place from which it can go anywhere.

    scene needs `hand_position`, `hand_rotation` and, for `transit`, `obstacles`.
    """

    def __init__(self, scene, rng: np.random.Generator) -> None:
        self.scene = scene
        self.rng = rng
        self.gripper = OPEN
        self.start_position = scene.hand_position

    def action_towards(
        self, position: np.ndarray, rotation: np.ndarray, speed: float = 1.0, **gains: float
    ) -> np.ndarray:
        """The servo law towards a hand pose."""
        return servo_action(
            position - self.scene.hand_position,
            axis_angle(rotation @ self.scene.hand_rotation.T),
            self.gripper,
            speed,
            **gains,
        )

    def errors_to(self, position: np.ndarray, rotation: np.ndarray) -> tuple[float, float]:
        """Distance in m and angle in rad that are left."""
        turn = axis_angle(rotation @ self.scene.hand_rotation.T)
        distance = np.linalg.norm(position - self.scene.hand_position)
        return float(distance), float(np.linalg.norm(turn))

    def goto(
        self,
        position: np.ndarray,
        rotation: np.ndarray,
        *,
        tolerance: float = 0.008,
        rotation_tolerance: float = 0.08,
        max_steps: int = 80,
        speed: float = 1.0,
    ) -> Motion:
        """Straight line to a pose. Returns whether it arrived (False: stalled or out of time)."""
        progress = Progress()
        for _ in range(max_steps):
            distance, angle = self.errors_to(position, rotation)
            if distance < tolerance and angle < rotation_tolerance:
                return True
            if progress.stalled(distance + ROTATION_AS_DISTANCE * angle):
                return False
            yield self.action_towards(position, rotation, speed)
        return False

    def approach(
        self,
        position: np.ndarray,
        rotation: np.ndarray,
        *,
        tolerance: float = 0.010,
        max_steps: int = 45,
        speed: float = 0.8,
    ) -> Motion:
        """Along the way the hand points, down a funnel onto a pose: sideways errors are corrected
        before the hand goes deeper."""
        back = -rotation[:, 2]
        progress = Progress()
        for _ in range(max_steps):
            distance, angle = self.errors_to(position, rotation)
            if distance < tolerance and angle < 0.12:
                return True
            if progress.stalled(distance + ROTATION_AS_DISTANCE * angle):
                return False
            error = position - self.scene.hand_position
            sideways = np.linalg.norm(error - (error @ back) * back)
            kept = FUNNEL_SLOPE * max(0.0, sideways - FUNNEL_RADIUS)
            yield self.action_towards(position + kept * back, rotation, speed)
        return False

    def hold(self, steps: int, rotation: np.ndarray, position: np.ndarray | None = None) -> Motion:
        """Stay for a fixed number of steps, at `position` or where the hand is now."""
        position = self.scene.hand_position if position is None else position
        for _ in range(steps):
            yield self.action_towards(position, rotation)
        return True

    def withdraw(self, rotation: np.ndarray) -> Motion:
        """Half of the way back to where the hand was at first."""
        halfway = (self.scene.hand_position + self.start_position) / 2
        return (
            yield from self.goto(
                halfway, rotation, tolerance=0.05, rotation_tolerance=0.3, max_steps=40
            )
        )

    def transit(
        self,
        xy: np.ndarray,
        rotation: np.ndarray,
        *,
        lowest_height: float,
        clearance_below: float = TIP_BELOW_SITE,
        ignoring: tuple[str, ...] = (),
        radius: float = 0.07,
        margin: float = 0.025,
    ) -> Motion:
        """Above the obstacles to `xy`, but no higher than they need: the arm is short far and high.

        lowest_height: hand height in m at which the way may end. clearance_below: m that the hand
        and its load reach below the grip site. radius: half-width in m of the swept corridor.
        """
        obstacles = self.scene.obstacles(ignoring)
        start = self.scene.hand_position
        count = max(1, int(np.ceil(np.linalg.norm(xy - start[:2]) / WAYPOINT_SPACING)))
        waypoints = start[:2] + (xy - start[:2]) * np.linspace(0.0, 1.0, count + 1)[:, None]
        needed = [
            max(obstacles.highest_top(point, radius) + margin + clearance_below, lowest_height)
            for point in waypoints
        ]
        heights = [max(needed[max(k - 1, 0) : k + 2]) for k in range(count)] + needed[-1:]
        if start[2] < heights[0] - 0.01:
            rise = np.append(start[:2], heights[0])
            yield from self.goto(
                rise, rotation, tolerance=0.015, rotation_tolerance=np.inf, max_steps=50
            )
        for point, height in zip(waypoints[1:-1], heights[1:-1], strict=True):
            passed = np.append(point, height)
            yield from self.goto(
                passed, rotation, tolerance=0.035, rotation_tolerance=np.inf, max_steps=25
            )
        end = np.append(xy, heights[-1])
        return (yield from self.goto(end, rotation, tolerance=TRANSIT_TOLERANCE, max_steps=60))
