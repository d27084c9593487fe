"""Runs single episodes in one process and turns whatever happens into a result."""

from __future__ import annotations

import contextlib
import hashlib
import time
import traceback
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.agents import Agent
from semanticvla_jax.evaluation.rollout import Episode, Film, run_episode
from semanticvla_jax.evaluation.served import Ask, ServedPolicy
from semanticvla_jax.libero.env import LiberoEnv, Placement
from semanticvla_jax.libero.suites import Task


@dataclass(frozen=True)
class Job:
    """One episode to run; `video` and `trace` are files to write, if any."""

    task: Task
    placement: Placement
    seed: int = 0
    video: Path | None = None
    trace: Path | None = None

    @property
    def scene(self) -> Hashable:
        """What its environment is made for; jobs of one scene share an environment."""
        return self.task, self.seed


@dataclass(frozen=True)
class Setup:
    """What every process needs to run any job. All constructors must be picklable.

    Attributes:
      make_env: (job, side of the camera images in px) -> environment of the job's scene.
      make_agent: of something that may ask the policy.
      make_policy: of the policy that `make_agent`'s agents ask, if they do.
      max_steps: step limit; None: the suite's.
    """

    make_env: Callable[[Job, int], LiberoEnv]
    make_agent: Callable[[Ask], Agent]
    make_policy: Callable[[], ServedPolicy] | None = None
    max_steps: int | None = None


class EpisodeRunner:
    """Runs jobs one after the other, keeping the agent and the current scene's environment."""

    def __init__(self, setup: Setup, ask: Ask):
        self._setup, self._ask = setup, ask
        self._agent: Agent | None = None
        self._env: LiberoEnv | None = None
        self._scene: Hashable = None

    def run(self, job: Job) -> dict[str, Any]:
        """The episode's result, JSON-able.

        Either {status: 'ok', success, steps, and times: see `_result`} or {status: 'error',
        error_type, error, traceback}, and the seconds it took.

        Raises:
          InputError: the agent or its checkpoint is at fault, so that trying again is pointless.
        """
        began = time.monotonic()
        try:
            result = self._episode(job)
        except InputError:
            raise
        except Exception as error:
            self.close()
            result = {
                "status": "error",
                "error_type": type(error).__name__,
                "error": f"{type(error).__name__}: {error}",
                "traceback": traceback.format_exc(limit=-4),
            }
        return {**result, "seconds": round(time.monotonic() - began, 2)}

    def _episode(self, job: Job) -> dict[str, Any]:
        if self._agent is None:
            self._agent = self._setup.make_agent(self._ask)
        began = time.monotonic()
        env = self._env_of(job)
        built = time.monotonic() - began
        film = Film() if job.video else lambda env: None
        self._agent.explain = job.trace is not None
        episode = run_episode(
            env,
            self._agent,
            job.placement,
            max_steps=self._setup.max_steps,
            after_step=film,
        )
        if job.video:
            film.write(job.video)
        if job.trace:
            from semanticvla_jax.evaluation.trace import write_trace

            write_trace(job.trace, episode)
        files = {
            name: f"{path.parent.name}/{path.name}"
            for name, path in (("video", job.video), ("trace", job.trace))
            if path
        }
        return {**_result(episode, built), **files}

    def _env_of(self, job: Job) -> LiberoEnv:
        if self._env is None or self._scene != job.scene:
            self.close()
            self._env = self._setup.make_env(job, self._agent.camera_size)
            self._scene = job.scene
        return self._env

    def close(self) -> None:
        if self._env is not None:
            with contextlib.suppress(Exception):
                self._env.close()
        self._env = None


def _result(episode: Episode, built: float) -> dict[str, Any]:
    """The row's outcome and times.

    actions_digest tells whether two runs did exactly the same. calls: how often the policy was
    asked. Per call: latency_ms, the policy's answer including its queue; render_ms; batch, how many
    were answered together. With accelerators also, per call, tokens (image tokens that got through)
    and slots; and of each time that actions were extrapolated instead, skipped_ms.
    """
    calls = [query for query in episode.queries if query.by_model]
    skipped = [query for query in episode.queries if not query.by_model]
    accelerated: dict[str, Any] = {}
    if any(query.kept is not None for query in calls):
        accelerated["tokens"] = [int(query.kept.sum()) for query in calls]
        accelerated["slots"] = [list(query.slots) for query in calls]
    if skipped:
        accelerated["skipped_ms"] = [round(1000 * query.seconds, 3) for query in skipped]
    return {
        "status": "ok",
        "success": episode.success,
        "steps": episode.steps,
        "actions_digest": hashlib.sha256(episode.actions.tobytes()).hexdigest()[:12],
        "instruction": episode.instruction,
        "calls": len(calls),
        "latency_ms": [round(1000 * query.seconds, 2) for query in calls],
        "render_ms": [round(1000 * query.render_seconds, 2) for query in calls],
        "batch": [query.batch for query in calls],
        **accelerated,
        "build_seconds": round(built, 2),
        "reset_seconds": round(episode.reset_seconds, 3),
    }
