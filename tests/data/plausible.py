"""Episodes a LIBERO robot could have recorded: its state and its camera follow the actions."""

from __future__ import annotations

import numpy as np

METRES_PER_ACTION = 0.02
OPEN, CLOSE = -1.0, 1.0


def plausible_episode(number: int, length: int = 30, size: int = 32) -> dict:
    """One that approaches, closes the gripper half way, and leaves."""
    rng = np.random.default_rng(number)
    action = np.clip(rng.normal(0, 0.4, (length, 7)), -1, 1).astype(np.float32)
    action[:, :3] = np.clip(action[:, :3] + rng.uniform(-0.3, 0.3, 3), -1, 1)
    action[:, 6] = np.where(np.arange(length) < length // 2, OPEN, CLOSE)
    position = np.cumsum(action[:, :3] * METRES_PER_ACTION, axis=0) + [0.0, 0.0, 0.2]
    finger = _fingers(action[:, 6])
    state = np.zeros((length, 8), np.float32)
    state[0, :3] = 0.0, 0.0, 0.2
    state[1:, :3] = position[:-1]
    state[:, 3:6] = [3.1, 0.0, 0.0] + rng.normal(0, 0.05, (length, 3))
    state[:, 6], state[:, 7] = finger, -finger
    return {
        "state": state,
        "action": action,
        "images": _images(rng, position, size),
        "instruction": ("pick up the milk", "turn on the stove")[number % 2],
    }


def _fingers(command: np.ndarray) -> np.ndarray:
    """Metres from the middle; a tenth of the way to the commanded place per step."""
    finger, out = 0.03, []
    for value in command:
        out.append(finger)
        finger += 0.4 * ((0.04 if value == OPEN else 0.0) - finger)
    return np.array(out)


def _images(rng: np.random.Generator, position: np.ndarray, size: int) -> np.ndarray:
    """uint8[T, 2, S, S, 3]: a tinted scene; a square where the hand is."""
    scene = rng.integers(40, 216, (2, 4, 4, 1)) + rng.integers(-20, 20, (2, 4, 4, 3))
    scene = scene.astype(np.uint8).repeat(size // 4, 1)
    images = np.tile(scene.repeat(size // 4, 2), (len(position), 1, 1, 1, 1))
    for image, place in zip(images, position, strict=True):
        row, column = np.clip(((place[:2] + 0.5) * size).astype(int), 0, size - 6)
        image[0, row : row + 6, column : column + 6] = 255
        image[1, column : column + 6, row : row + 6] = 0
    return images


def plausible_episodes(count: int = 12) -> list[dict]:
    return [plausible_episode(number) for number in range(count)]
