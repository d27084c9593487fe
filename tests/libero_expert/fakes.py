"""A recorder without a simulator, and the collect phase with it as a process to be killed.

python -m tests.libero_expert.fakes OUT EPISODES WORKERS SECONDS_PER_ATTEMPT
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from data.libero_expert.collect import Collection
from data.libero_expert.configuration import Configuration
from data.libero_expert.episode import Episode
from data.libero_expert.staging import Attempt, Failure, Staging
from semanticvla_jax.data.images import encode_jpeg

IMAGE_SIZE = 64


def configuration(episodes: int, tasks: tuple[int, ...] = (0, 3)) -> Configuration:
    return Configuration("libero_object", tasks, episodes, image_size=IMAGE_SIZE)


def fake_episode(attempt: Attempt) -> Episode:
    """9 to 14 steps of smooth random images and random numbers, all decided by the seed."""
    rng = np.random.default_rng(attempt.seed)
    length = int(rng.integers(9, 15))

    def camera() -> tuple[bytes, ...]:
        small = rng.integers(0, 256, (length, 4, 4, 3), np.uint8)
        images = [Image.fromarray(image).resize((IMAGE_SIZE, IMAGE_SIZE)) for image in small]
        return tuple(encode_jpeg(np.asarray(image)) for image in images)

    return Episode(
        image=camera(),
        wrist_image=camera(),
        state=rng.normal(size=(length, 8)).astype(np.float32),
        joint_state=rng.normal(size=(length, 7)).astype(np.float32),
        action=rng.uniform(-1, 1, (length, 7)).astype(np.float32),
        instruction=f"do task {attempt.task}",
        source=f"libero_object/task_{attempt.task}/attempt_{attempt.number}_seed_{attempt.seed}",
    )


class FakeRecorder:
    """Fails on every fourth seed or so."""

    def __init__(self, configuration: Configuration, seconds: float = 0.0):
        self.seconds = seconds

    def __call__(self, attempt: Attempt) -> Episode | Failure:
        time.sleep(self.seconds)
        return Failure("unlucky", 7) if attempt.seed % 4 == 0 else fake_episode(attempt)


class CrashingRecorder(FakeRecorder):
    """Attempt 1 kills its process and attempt 2 raises, the first time; attempt 4 always raises."""

    def __init__(self, configuration: Configuration, directory: Path):
        super().__init__(configuration)
        self.directory = directory

    def __call__(self, attempt: Attempt) -> Episode | Failure:
        if attempt.number == 4:
            raise RuntimeError("the simulator is unstable")
        if attempt.number in (1, 2) and self._first_time(attempt):
            if attempt.number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("a hiccup")
        return super().__call__(attempt)

    def _first_time(self, attempt: Attempt) -> bool:
        marker = self.directory / attempt.stem
        if marker.exists():
            return False
        marker.touch()
        return True


def broken_recorder(configuration: Configuration):
    raise RuntimeError("no simulator here")


if __name__ == "__main__":
    out, episodes, workers, seconds = sys.argv[1:]
    wanted = configuration(int(episodes))
    make_recorder = functools.partial(FakeRecorder, seconds=float(seconds))
    Collection(wanted, Staging(Path(out), wanted), make_recorder, int(workers)).run()
