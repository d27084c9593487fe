"""Flow head: the loss of a perfect velocity is zero, and Euler steps then reach the target."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.models import flow_head


class Knowing(flow_head.FlowHead):
    """Knows the target: the straight way from x_t to it."""

    def velocity(self, states, noisy, time):
        target = states[:, :, 0, :7]
        return (target - noisy) / (1 - time[:, None, None])


TARGET = jnp.tile(jnp.linspace(-1, 1, 7), (2, 4, 1))
STATES = TARGET[:, :, None]


def test_the_straight_way_has_no_loss_and_leads_to_the_target():
    rngs = {"noise": jax.random.key(0)}
    loss, actions = Knowing().apply({}, STATES, TARGET, jnp.ones(7), rngs=rngs, method="supervise")
    assert loss < 1e-9
    np.testing.assert_allclose(actions, TARGET, atol=1e-4)
    np.testing.assert_allclose(Knowing().apply({}, STATES), TARGET, atol=1e-4)


def test_draws_differ_with_the_key_and_are_fixed_without_one():
    head = flow_head.FlowHead(width=8, depth=1, heads=2, steps=2)
    states = jax.random.normal(jax.random.key(1), (2, 4, 3, 5))
    params = head.init(jax.random.key(0), states)

    def draw(seed: int):
        return head.apply(params, states, rngs={"noise": jax.random.key(seed)})

    assert np.abs(draw(0) - draw(1)).max() > 0.1
    np.testing.assert_array_equal(head.apply(params, states), head.apply(params, states))
