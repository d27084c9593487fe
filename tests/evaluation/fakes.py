"""Agents without a model; importable by worker processes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


class ForwardAgent:
    """Moves the hand forward, three actions per query."""

    camera_size = 32

    def __init__(self):
        self.latencies = []

    def start_episode(self, env, instruction):
        self.latencies = []

    def act(self, env):
        self.latencies.append(0.001)
        return np.tile([0.5, 0, 0, 0, 0, 0, -1], (3, 1))


class FailsOnce(ForwardAgent):
    """Raises in the first episode ever, which a file remembers."""

    def __init__(self, memory: Path, hard: bool = False):
        super().__init__()
        self.memory, self.hard = memory, hard

    def act(self, env):
        if not self.memory.exists():
            self.memory.write_text("failed")
            if self.hard:
                os._exit(9)
            raise RuntimeError("simulator exploded")
        return super().act(env)


class NanAgent(ForwardAgent):
    def act(self, env):
        return np.full((1, 7), np.nan)
