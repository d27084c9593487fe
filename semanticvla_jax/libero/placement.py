"""Where everything stands when an episode starts: official, sampled or jittered.

A placement is a small immutable value; applying it to an environment of its task gives the same
simulator state every time.
"""

from __future__ import annotations

from dataclasses import dataclass

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.env import LiberoEnv
from semanticvla_jax.libero.jitter import Jitter, apply_jitter
from semanticvla_jax.libero.suites import official_states

# First words of the seed sequences, so that kinds of placement never share random numbers.
_OFFICIAL, _SAMPLED, _JITTER = 1, 2, 3


@dataclass(frozen=True)
class Official:
    """The benchmark's initial state number `index` (0 to 49).

    The stored states hold joint positions only. What they leave open (fixtures placed within the
    centimetre that the task's sampler allows) is drawn from (env.seed, index).
    """

    index: int

    @property
    def key(self) -> str:
        return f"official:{self.index}"

    def apply(self, env: LiberoEnv) -> None:
        states = official_states(env.task)
        if not 0 <= self.index < len(states):
            raise InputError(
                f"official initial state of {env.task.name}",
                found=self.index,
                expected=f"0 to {len(states) - 1}",
                fix="ask for at most that many episodes",
            )
        env.sample_scene([_OFFICIAL, env.seed, self.index])
        env.set_state(states[self.index])


@dataclass(frozen=True)
class Sampled:
    """A draw from the task's own BDDL sampler, then jitter. Never an official state."""

    seed: int
    jitter: Jitter | None = None

    @property
    def key(self) -> str:
        return f"sampled:{self.seed}" + (f":{self.jitter.key}" if self.jitter else "")

    def apply(self, env: LiberoEnv) -> None:
        env.sample_scene([_SAMPLED, self.seed])
        if self.jitter is not None:
            apply_jitter(env, self.jitter, [_SAMPLED, _JITTER, self.seed])


@dataclass(frozen=True)
class JitteredOfficial:
    """Official state `index` moved by jitter drawn from (seed, index)."""

    index: int
    seed: int
    jitter: Jitter = Jitter()

    @property
    def key(self) -> str:
        return f"jittered:{self.index}:{self.seed}:{self.jitter.key}"

    def apply(self, env: LiberoEnv) -> None:
        Official(self.index).apply(env)
        apply_jitter(env, self.jitter, [_OFFICIAL, _JITTER, self.seed, self.index])
