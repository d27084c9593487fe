"""Whole policies with accelerators: what stays the same, what is forgotten, what goes together."""

from __future__ import annotations

import json
from unittest import mock

import jax
import numpy as np
import pytest

from semanticvla_jax.accelerate.fastv import FastV
from semanticvla_jax.accelerate.methods import METHODS, describe, read_methods
from semanticvla_jax.accelerate.program import Program, fit
from semanticvla_jax.accelerate.random_drop import RandomDrop
from semanticvla_jax.accelerate.sp_vla import Schedule, ScheduledPolicy
from semanticvla_jax.accelerate.spatio_semantic import SpatioSemantic
from semanticvla_jax.accelerate.vla_pruner import VLAPruner
from semanticvla_jax.accelerate.wrap import wrap
from semanticvla_jax.errors import InputError
from semanticvla_jax.policy import stack
from tests.accelerate.policies import observation, policy
from tests.models.smallest import jit

PRUNER = VLAPruner(before=1, watched=1, window=2)


@pytest.fixture(autouse=True)
def quick_compilation():
    with mock.patch.object(jax, "jit", jit):
        yield


def test_an_episode_of_semanticvla_with_everything():
    pytest.importorskip("cv2", reason="OpenCV comes with the simulator's requirements")
    plain = policy()
    tokens = SpatioSemantic(levels=(1.0,), edge=0.9)
    both = wrap(plain, [PRUNER, tokens, Schedule()], execute=1)
    assert isinstance(both, ScheduledPolicy)
    assert both.label == "tiny+sp_vla_tokens+vla_pruner+sp_vla_schedule"
    inner = both.policy
    compiled = len(inner.program._programs)
    assert compiled == 2
    both.start_episode()
    first = both.infer(observation(0))
    np.testing.assert_allclose(first, plain.infer(observation(0)), atol=1e-5)
    assert inner.kept.all() and inner.state["vla_pruner"].count.tolist() == [1]
    fast = np.full(7, 0.55, np.float32)
    both.infer(observation(1))
    last = inner.infer({**observation(2), "last_action": fast})
    # 12 tokens, of which the pruner leaves 6; 8 cues and half of the 8 anchors before that.
    assert inner.kept.sum() == 6 and last.shape == (2, 7)
    programs = inner.program._programs.values()
    assert len(programs) == compiled and all(p._cache_size() == 1 for p in programs)
    both.start_episode()
    assert inner.state["vla_pruner"].count.tolist() == [0]
    np.testing.assert_array_equal(both.infer(observation(0)), first)


@pytest.mark.slow
def test_members_of_a_batch_have_episodes_of_their_own():
    plain = policy("openvla")
    program = Program(plain.model, plain.params, RandomDrop(drop=0.25), methods=[PRUNER])
    rows = [plain.prepare(observation(i, text)) for i, text in enumerate(["push", "lift it"])]
    batch = stack(rows)
    begun = program.begin(batch, {})
    warm = begun["vla_pruner"]._replace(
        vectors=jax.random.uniform(jax.random.key(0), begun["vla_pruner"].vectors.shape),
        count=np.array([2, 1], np.int32),
    )
    state = {**begun, "vla_pruner": warm}
    actions, after, kept = program.step(batch, {}, state)
    assert np.asarray(kept).sum(1).tolist() == [12, 24]
    assert after["vla_pruner"].count.tolist() == [2, 2]
    for i in range(2):
        one = {name: value[i : i + 1] for name, value in batch.items()}
        mine = jax.tree.map(lambda x, i=i: x[i : i + 1], state)
        alone, later, _ = program.step(one, {}, mine)
        np.testing.assert_allclose(alone[0], actions[i], atol=1e-5)
        np.testing.assert_allclose(
            later["vla_pruner"].vectors[0], after["vla_pruner"].vectors[i], atol=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["openvla", "openvla_oft", "pd_vla"])
@pytest.mark.parametrize("name", sorted(set(METHODS) - {"adaptive", "sp_vla", "sp_vla_schedule"}))
def test_every_method_runs_through_an_episode_and_begins_the_next_alike(variant, name):
    if name == "sp_vla_tokens":
        pytest.importorskip("cv2", reason="OpenCV comes with the simulator's requirements")
    wrapped = wrap(policy(variant), [name], typical=[observation(i) for i in range(2)])
    wrapped.start_episode()
    answers = [wrapped.infer(observation(i // 2)) for i in range(5)]
    assert all(a.shape == (2, 7) and np.isfinite(a).all() for a in answers)
    wrapped.start_episode()
    np.testing.assert_array_equal(wrapped.infer(observation(0)), answers[0])


@pytest.mark.slow
def test_an_adaptive_ratio_depends_on_the_sentence_and_compiles_nothing_new():
    wrapped = wrap(policy(), ["adaptive"])
    counts = set()
    for text in ("a", "push", "lift", "zzzz", "open it"):
        wrapped.infer(observation(3, text))
        counts.add(int(wrapped.kept.sum()))
    assert len(counts) > 1
    assert all(p._cache_size() == 1 for p in wrapped.program._programs.values())


def test_what_does_not_go_together_is_refused():
    plain = policy()
    with pytest.raises(InputError, match="one of vla_pruner"):
        wrap(plain, ["unheard_of"])
    with pytest.raises(InputError, match="one of them"):
        wrap(plain, ["fopru", "visionzip"])
    with pytest.raises(InputError, match="vla_cache alone"):
        wrap(plain, ["vla_cache", FastV(before=1)])
    with pytest.raises(InputError, match="typical"):
        wrap(plain, ["efficient_vla"])
    with pytest.raises(InputError, match="more than 3 layers"):
        wrap(plain, [FastV(before=3)])
    assert fit((3, 5, 9), 4) == 5 and fit((3, 5, 9), 10) == 9


def test_settings_are_read_and_told():
    pruner, tokens, schedule = read_methods(
        "vla_pruner:drop=0.75:window=2:weighting=newest_heaviest, sp_vla", depth=2
    )
    assert (pruner.drop, pruner.window, pruner.before, pruner.watched) == (0.75, 2, 1, 0)
    told = describe(pruner)
    assert told["weighting"] == "newest_heaviest" and told["rows"] == "last_row"
    assert json.loads(json.dumps(told)) == told
    assert tokens == SpatioSemantic() and describe(schedule)["fastest"] == 0.5
    (slower,) = read_methods("sp_vla_schedule:fastest=0.4:strength=1", depth=32)
    assert slower.scheduler.fastest == 0.4 and slower.strength == 1.0
    assert slower.scheduler.slowest == 0.2
    for wrong in ("fastv:dorp=0.5", "fastv:drop=half", "fastv:rows=rank", "fastv:name=other"):
        with pytest.raises(InputError, match="accelerator 'fastv'"):
            read_methods(wrong, depth=4)
