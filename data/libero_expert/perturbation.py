"""Disturbances of the executed action, so that demonstrations show how to recover.

The recorded label stays the expert's clean action; only the simulator feels the disturbance.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from semanticvla_jax.errors import InputError

LOW = 0.12
"""Below this height over the workspace, in metres, an open gripper is among the objects."""


@dataclass(frozen=True)
class Noise:
    """Sizes in units of the normalised action ([-1, 1] per dimension).

    White noise at every step, and now and then a burst: a constant push in a random direction.
    """

    position: float = 0.2
    """Standard deviation on x, y, z."""
    rotation: float = 0.08
    """Standard deviation on the three rotations."""
    burst_probability: float = 0.04
    """Chance that a burst starts, per step outside bursts."""
    burst_steps_min: int = 3
    burst_steps_max: int = 6
    burst_magnitude_min: float = 0.3
    burst_magnitude_max: float = 0.8
    """Length of the push's x, y, z part, drawn uniformly between the two."""
    burst_rotation: float = 0.075
    """Standard deviation of the push's three rotations."""

    def __post_init__(self):
        values = dataclasses.asdict(self)
        if (
            min(values.values()) < 0
            or self.burst_probability > 1
            or self.burst_steps_min < 1
            or self.burst_steps_min > self.burst_steps_max
            or self.burst_magnitude_min > self.burst_magnitude_max
        ):
            raise InputError(
                "action noise",
                found=values,
                expected="sizes >= 0, a probability <= 1, bursts of >= 1 step, min <= max",
                fix="correct --noise",
            )


NO_NOISE = Noise(position=0.0, rotation=0.0, burst_probability=0.0)


def parse_noise(text: str) -> Noise:
    """Reads `default`, `none` or `name=value,...` (the rest at their defaults)."""
    if text in ("default", "none"):
        return Noise() if text == "default" else NO_NOISE
    types = {field.name: type(field.default) for field in dataclasses.fields(Noise)}
    try:
        pairs = [pair.split("=") for pair in text.split(",")]
        return Noise(**{name: types[name](value) for name, value in pairs})
    except (KeyError, TypeError) as error:
        unknown = error
    except InputError:
        raise
    except ValueError as error:
        unknown = error
    raise InputError(
        "--noise",
        found=repr(text),
        expected=f"default, none, or name=value pairs of {', '.join(types)}",
        fix="for example --noise position=0.2,burst_probability=0",
    ) from unknown


class Perturbation:
    """Disturbs the actions of one episode, in the order in which they are executed."""

    def __init__(self, noise: Noise, generator: np.random.Generator):
        self.noise = noise
        self._generator = generator
        self._push = np.zeros(6)
        self._push_steps_left = 0

    def __call__(self, action: np.ndarray, height: float) -> np.ndarray:
        """Returns the action to execute.

        Args:
          action: f64[7], the expert's; its gripper dimension is never disturbed.
          height: of the gripper over the workspace, in metres.

        Returns: f64[7] in [-1, 1].
        """
        noise, generator = self.noise, self._generator
        if not self._push_steps_left and generator.random() < noise.burst_probability:
            self._push = self._draw_push(spare_downwards=action[6] < 0 and height < LOW)
            self._push_steps_left = int(
                generator.integers(noise.burst_steps_min, noise.burst_steps_max + 1)
            )
        scale = np.repeat([noise.position, noise.rotation], 3)
        disturbance = generator.normal(size=6) * scale
        if self._push_steps_left:
            self._push_steps_left -= 1
            disturbance += self._push
        executed = np.array(action, np.float64)
        executed[:6] = np.clip(executed[:6] + disturbance, -1, 1)
        return executed

    def _draw_push(self, spare_downwards: bool) -> np.ndarray:
        noise, generator = self.noise, self._generator
        direction = generator.normal(size=3)
        direction /= np.linalg.norm(direction)
        if spare_downwards:
            direction[2] = abs(direction[2])
        magnitude = generator.uniform(noise.burst_magnitude_min, noise.burst_magnitude_max)
        rotation = generator.normal(size=3) * noise.burst_rotation
        return np.concatenate([direction * magnitude, rotation])
