"""A checkpoint's policy with the options of inference."""

from __future__ import annotations

import argparse

import jax
import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.inference import options as inference
from semanticvla_jax.policy import load_policy


def observation(instruction: str = "turn on the stove") -> dict:
    rng = np.random.default_rng(0)
    image, wrist = rng.integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    state = np.linspace(-0.5, 0.5, 8).astype(np.float32)
    return {"image": image, "wrist_image": wrist, "state": state, "instruction": instruction}


def parse(*argv: str) -> inference.InferenceOptions:
    parser = argparse.ArgumentParser()
    inference.add_arguments(parser.add_argument)
    return inference.read_arguments(parser.parse_args(argv))


@pytest.fixture(scope="module")
def actions(finished_run) -> np.ndarray:
    return load_policy(finished_run).infer(observation())


@pytest.mark.parametrize(
    "changes, most",
    [({"fuse": False}, 1e-5), ({"precision": "int8"}, 0.05), ({"dtype": "bfloat16"}, 0.05)],
)
def test_options_change_actions_as_little_as_they_say(finished_run, actions, changes, most):
    policy = load_policy(finished_run, **changes)
    moved = np.abs(policy.infer(observation()) - actions)[:, :6].max()
    assert moved < most and (moved > 0 or "fuse" in changes)


def test_the_command_line_says_the_same():
    assert parse() == inference.DEFAULTS
    chosen = parse("--precision", "int8", "--prompt_lengths", "24, 40", "--mesh", "tensor=2")
    assert chosen.changes == {"precision": "int8"}
    assert (chosen.prompt_lengths, chosen.mesh) == ((24, 40), "tensor=2")
    with pytest.raises(InputError, match="--prompt_lengths"):
        parse("--prompt_lengths", "long")


def test_bad_options(finished_run):
    with pytest.raises(InputError, match="expected one of int8, int4, w8a8"):
        load_policy(finished_run, precision="int2")


def test_programs_are_kept_where_told(finished_run, tmp_path):
    before = jax.config.jax_compilation_cache_dir
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    smallest = jax.config.jax_persistent_cache_min_entry_size_bytes
    try:
        load_policy(finished_run, compilation_cache=str(tmp_path / "programs")).infer(observation())
        assert len(list((tmp_path / "programs").iterdir())) >= 2
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", smallest)
        from jax.experimental.compilation_cache import compilation_cache

        compilation_cache.reset_cache()
