"""Flow-matching action head: a small transformer carries noise to the whole chunk of actions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from semanticvla_jax.models.heads import SINGLE_ARM, ActionTokens
from semanticvla_jax.models.layers import Block, Dense


def time_features(time: jax.Array, width: int) -> jax.Array:
    """f32[B] in [0, 1] -> f32[B, width], sines and cosines of 2^0 ... 2^7 half-turns."""
    frequencies = jnp.pi * 2.0 ** jnp.linspace(0, 7, width // 2)
    angles = time[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class FlowHead(nn.Module):
    """Conditional flow matching (Lipman et al., arXiv 2210.02747) over an action chunk.

    With a target a and noise e ~ N(0, 1): x_t = (1 - t) e + t a, and the network learns the
    velocity a - e from x_t, t and the action tokens' states. Actions come from Euler steps from
    t = 0 to 1; the noise is drawn from rng 'noise', or always the same where that is not given.

    Attributes:
      width, depth, heads: of the transformer over the K steps of the chunk.
      steps: of the integration.
    """

    action_tokens: ActionTokens = SINGLE_ARM
    width: int = 512
    depth: int = 4
    heads: int = 8
    steps: int = 10
    kernel_init: str = "torch"
    dense: Callable[..., nn.Module] = Dense
    param_dtype: Any = jnp.float32

    @property
    def action_size(self) -> int:
        return sum(len(dims) for _, dims in self.action_tokens)

    @nn.compact
    def velocity(self, states: jax.Array, noisy: jax.Array, time: jax.Array) -> jax.Array:
        """[B, K, T, d], x_t f32[B, K, A], t f32[B] -> f32[B, K, A]."""
        project = functools.partial(self.dense, self.width, kernel_init=self.kernel_init)
        length = states.shape[1]
        normal = nn.initializers.normal(0.02)
        places = self.param("places", normal, (length, self.width), self.param_dtype)
        x = project(name="states")(states.reshape(*states.shape[:2], -1).astype(jnp.float32))
        x = x + project(name="actions")(noisy) + places
        x = x + project(name="time")(time_features(time, self.width))[:, None]
        for i in range(self.depth):
            x = Block(
                heads=self.heads,
                mlp_width=4 * self.width,
                kernel_init=self.kernel_init,
                dense=self.dense,
                param_dtype=self.param_dtype,
                name=f"blocks_{i}",
            )(x)
        return self.dense(self.action_size, kernel_init=self.kernel_init, name="out")(x)

    def __call__(self, states: jax.Array) -> jax.Array:
        """[B, K, T, d] -> f32[B, K, A], one draw."""
        batch, length = states.shape[:2]
        key = self.make_rng("noise") if self.has_rng("noise") else jax.random.key(0)
        x = jax.random.normal(key, (batch, length, self.action_size))
        for i in range(self.steps):
            time = jnp.full((batch,), i / self.steps)
            x = x + self.velocity(states, x, time) / self.steps
        return x

    def supervise(
        self, states: jax.Array, targets: jax.Array, weights: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """(weighted squared error of the velocity, the actions it leads to in one step)."""
        key_time, key_noise = jax.random.split(self.make_rng("noise"))
        time = jax.random.uniform(key_time, (states.shape[0],))
        noise = jax.random.normal(key_noise, targets.shape)
        t = time[:, None, None]
        noisy = (1 - t) * noise + t * targets
        velocity = self.velocity(states, noisy, time)
        loss = jnp.mean(jnp.square(velocity - (targets - noise)) * weights)
        return loss, noisy + (1 - t) * velocity
