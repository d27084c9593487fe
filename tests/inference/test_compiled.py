"""Compiled programs against the model called plainly."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from semanticvla_jax.inference.compiled import CompiledModel, Compiler
from semanticvla_jax.inference.pixels import DevicePixels, HostPixels
from semanticvla_jax.inference.quantization import quantize
from semanticvla_jax.policy import stack
from tests.accelerate.policies import observation, policy
from tests.inference.compilations import compilations
from tests.models.smallest import QUICK

SENTENCES = ("push", "lift it", "go")


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return [policy().prepare(observation(i, SENTENCES[i % 3])) for i in range(6)]


@pytest.fixture(scope="module")
def compiled() -> CompiledModel:
    return make(policy(), prompt_lengths=(4,))


def make(plain, **options) -> CompiledModel:
    pixels = HostPixels(plain.transform, len(plain.robot.cameras))
    compiler = Compiler(QUICK)
    return CompiledModel(
        plain.model, plain.params, pixels, plain.example(), compiler=compiler, **options
    )


def plainly(rows) -> np.ndarray:
    model = jax.jit(policy().model.apply)
    return np.asarray(model({"params": policy().params}, stack(rows))[0])


def test_actions_are_those_of_the_whole_model(compiled, rows):
    expected = plainly(rows[:2])
    np.testing.assert_allclose(compiled(rows[:2]), expected, atol=1e-5)
    np.testing.assert_allclose(compiled([rows[1]])[0], expected[1], atol=1e-5)
    assert compiled(rows[:1]).dtype == np.float32 and expected.std() > 0.01


def test_short_prompts_run_in_shorter_programs_with_the_same_actions(compiled, rows):
    lengths = [int(row["prompt_mask"].sum()) for row in rows[:3]]
    assert lengths == [4, 6, 2] and compiled.prompt_lengths == (4, 6)
    assert [compiled.room(row) for row in rows[:3]] == [4, 6, 4]
    whole = make(policy())
    assert whole.prompt_lengths == (6,)
    for row in rows[:3]:
        np.testing.assert_allclose(compiled([row]), whole([row]), atol=1e-5)


def test_a_row_does_not_see_its_company(compiled, rows):
    """Bit for bit, at one size and one room."""
    alone = [compiled([row] * 2)[0] for row in rows]
    rng = np.random.default_rng(0)
    for _ in range(8):
        chosen = rng.choice([i for i, row in enumerate(rows) if compiled.room(row) == 4], 2)
        for found, index in zip(compiled([rows[i] for i in chosen]), chosen, strict=True):
            np.testing.assert_array_equal(found, alone[index])


@pytest.mark.parametrize("precision", ["", "int4"])
def test_compiling_beforehand_leaves_nothing_to_compile(rows, precision):
    """Also where the parameters lie on a device because they were put there, as restored ones."""
    plain = policy()
    model, params = plain.model, jax.device_put(plain.params, jax.devices()[0])
    if precision:
        model, params = quantize(model, params, precision)
    compiled = make(dataclasses.replace(plain, model=model, params=params), prompt_lengths=(4,))
    with compilations() as before:
        assert compiled.compile((1,)) == 2
    with compilations() as during:
        for row in rows:  # new sentences and known ones
            compiled([row])
    assert len(before) == 2 and not during
    assert compiled.compile((1,)) == 2


def test_raw_images_go_in(rows):
    plain = policy()
    pixels = DevicePixels(plain.transform, 2, plain.camera_size)
    compiled = CompiledModel(
        plain.model, plain.params, pixels, plain.example(), compiler=Compiler(QUICK)
    )
    seen = observation(0, SENTENCES[0])
    found = compiled([plain.read(seen, pixels.receive)])
    np.testing.assert_array_equal(found, compiled([plain.read(seen, pixels.receive)]))
    # Half the pixels of noise differ by one grey level, and choices of patches may follow them.
    np.testing.assert_allclose(found, compiled(rows[:1]), atol=0.05)
