"""The step: accumulated gradients, averages, precision of what is trained."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs import semanticvla_libero
from semanticvla_jax import policy, robots
from semanticvla_jax.data.options import DataOptions
from semanticvla_jax.robots import LIBERO
from semanticvla_jax.training import optimizer, parameters
from semanticvla_jax.training.step import TrainState, accumulated, make_train_step, moving_average


class Line:
    """predicted[b, k, a] = kernel[a] * x[b]; mean squared error."""

    def apply(self, variables, batch, weights, rngs, method):
        predicted = batch["x"][:, None, None] * variables["params"]["kernel"]
        predicted = jnp.broadcast_to(predicted, batch["actions"].shape)
        return jnp.mean(weights * (predicted - batch["actions"]) ** 2), predicted


def one_step(**settings):
    rng = np.random.default_rng(0)
    batch = {
        "x": rng.normal(size=8).astype(np.float32),
        "actions": rng.normal(size=(8, 2, 7)).astype(np.float32),
    }
    transform = optax.sgd(0.1)
    step = make_train_step(
        Line(),
        transform,
        optax.constant_schedule(0.1),
        loss_weights=jnp.ones(7),
        robot=LIBERO,
        seed=0,
        **settings,
    )
    params = {"kernel": jnp.ones(7)}
    average = params if settings.get("ema_decay") else None
    return step(TrainState(jnp.int32(0), params, transform.init(params), average), {}, batch)


def test_accumulated_step_is_the_whole_step():
    whole, whole_metrics = one_step()
    parts, parts_metrics = one_step(accumulate_steps=4)
    assert not np.allclose(whole.trainable["kernel"], 1.0)
    np.testing.assert_allclose(whole.trainable["kernel"], parts.trainable["kernel"], atol=1e-6)
    for name, value in whole_metrics.items():
        np.testing.assert_allclose(value, parts_metrics[name], atol=1e-6, err_msg=name)


def test_parts_take_turns_over_the_batch():
    seen = accumulated(
        lambda batch, _: batch["x"][0] * batch["x"][-1],
        {"x": jnp.arange(6.0)},
        jax.random.key(0),
        2,
    )
    np.testing.assert_allclose(seen, (0 * 4 + 1 * 5) / 2)  # parts (0, 2, 4) and (1, 3, 5)


def test_average_by_hand():
    average = moving_average({"a": jnp.float32(1.0)}, {"a": jnp.float32(3.0)}, 0.75)
    np.testing.assert_allclose(average["a"], 1.5)


def test_a_step_moves_the_average_and_keeps_none_without_a_decay():
    state, _ = one_step(ema_decay=0.9)
    expected = 0.9 * np.ones(7) + 0.1 * np.asarray(state.trainable["kernel"])
    np.testing.assert_allclose(state.average["kernel"], expected, rtol=1e-6)
    assert one_step()[0].average is None


def test_trained_parameters_are_f32_beside_a_bf16_base():
    config = semanticvla_libero.get_config()
    robot = robots.find_robot(config.robot)
    tokenizer = DataOptions(path="unread", prompt_length=64, text_length=64).tokenizer()
    model = policy.build_model(config.model.to_dict(), robot, tokenizer)
    example = policy.example_batch(robot, 224, tokenizer)
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda: model.init({"params": key, "noise": key}, example)["params"])
    selected = optimizer.trainable_names(shapes, config.optimizer.groups)
    trained, frozen = map(parameters.flatten, parameters.split(shapes, selected))
    assert {leaf.dtype.name for leaf in trained.values()} == {"float32"}
    assert {leaf.dtype.name for leaf in frozen.values()} == {"bfloat16"}
    assert any(name.endswith("lora_a") for name in trained)
