"""Stages before the decoder on scenes made by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semanticvla_jax.accelerate import fopru, spatio_semantic
from semanticvla_jax.accelerate.adaptive import AdaptiveRatio, effective_number
from semanticvla_jax.accelerate.edges import edge_shares
from semanticvla_jax.accelerate.fopru import FoPru
from semanticvla_jax.accelerate.prumerge import PruMerge
from semanticvla_jax.accelerate.random_drop import RandomDrop
from semanticvla_jax.accelerate.scene import Scene
from semanticvla_jax.accelerate.sparsevlm import SparseVLM, density_peaks
from semanticvla_jax.accelerate.spatio_semantic import SpatioSemantic, retained_share
from semanticvla_jax.accelerate.visionzip import VisionZip
from semanticvla_jax.errors import InputError
from tests.models.smallest import jit


def scene(received, keys=None, patch=None, details=None, **extras) -> Scene:
    """received f[n, N]; keys f[n, N, d] of one head."""
    received = jnp.asarray(received, jnp.float32)
    n, patches = received.shape
    keys = jnp.zeros((n, patches, 1)) if keys is None else jnp.asarray(keys, jnp.float32)
    patch = jnp.tile(jnp.arange(patches), (n, 1)) if patch is None else jnp.asarray(patch)
    return Scene(patch, received, received, keys[:, :, None], details or {}, extras)


def combine(stage, seen: Scene, state=None):
    """Compiled, which takes less time than op by op."""
    return jit(lambda seen, state: stage.combine(seen, state))(seen, state)


def anchors(weights) -> list:
    return np.asarray(weights).argmax(-1).tolist()


def test_fopru_by_hand():
    seen = scene([[0.1, 0.4, 0.2, 0.3], [0.4, 0.1, 0.3, 0.2]])
    weights = combine(FoPru(), seen, None)[0].weights
    assert anchors(weights) == [[1, 3], [0, 2]] and (np.asarray(weights).sum(-1) == 1).all()
    rows = combine(FoPru(strategy=fopru.row), scene([[0.9, 0.0, 0.5, 0.5]]))[0].weights
    assert anchors(rows) == [[2, 3]]
    among = scene([[0.1, 0.4, 0.2, 0.3]], patch=[[0, 2, 3]])  # anchors are three of the patches
    assert anchors(combine(FoPru(drop=2 / 3), among)[0].weights) == [[2]]


def test_visionzip_by_hand():
    # 0 is dominant; of the rest 1 is the target, and 2 and 3 join it.
    keys = [[[1.0, 0], [1, 0], [0, 1], [1, 1]]]
    seen = scene([[0.9, 0.1, 0.2, 0.3]], keys)
    weights = combine(VisionZip(), seen, None)[0].weights
    np.testing.assert_allclose(weights[0], [[1, 0, 0, 0], [0, 1, 0.5, 0.5]])
    two = combine(VisionZip(drop=0.25, contextual=2 / 3), seen, None)[0].weights
    # Targets 1 and 2 of the rest [1, 2, 3]; 3 is as near to both and joins the first.
    np.testing.assert_allclose(two[0], [[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]])


def test_prumerge_by_hand():
    attention = np.full((2, 8), 0.1)
    attention[0, [2, 5]] = 0.8, 0.9
    attention[0, 7] = 0.11
    keys = np.eye(8)[None].repeat(2, 0)
    keys[0, 3] = keys[0, 2] + 0.1 * keys[0, 3]
    combined = combine(PruMerge(neighbours=1), scene(attention, keys))[0]
    assert combined.weights.shape == (2, 5, 8)
    np.testing.assert_array_equal(np.asarray(combined.valid).sum(1), [3, 1])
    merged = np.asarray(combined.weights[0])
    np.testing.assert_allclose(merged[0], 0.1 * np.eye(8)[3] + np.eye(8)[2], atol=1e-6)
    assert merged[1, 5] == 1
    rest = attention[0] * (np.arange(8) != 2) * (np.arange(8) != 5)
    np.testing.assert_allclose(merged[2], rest, atol=1e-6)
    assert (merged[3:] == 0).all()
    # No outlier at all: one token for everything.
    np.testing.assert_allclose(combined.weights[1, 0], attention[1], atol=1e-6)


def test_random_draws_anew_in_every_step_and_episode_by_episode_the_same():
    stage, seen = RandomDrop(), scene(np.zeros((4, 8)))
    state = stage.begin(2)  # two episodes of two cameras
    first, later = combine(stage, seen, state)
    second, _ = combine(stage, seen, later)
    again, _ = combine(stage, seen, stage.begin(2))
    assert anchors(first.weights) == anchors(again.weights) != anchors(second.weights)
    alone, _ = combine(stage, scene(np.zeros((2, 8))), state[1:])
    assert anchors(alone.weights) == anchors(first.weights)[2:]
    assert all(sorted(set(row)) == row for row in anchors(first.weights))


def test_retained_share_by_hand():
    share = retained_share(jnp.array([0.0, 0.19, 0.2, 0.6, 1.0, 3.0]), 0.2, 1.0, 0.4)
    np.testing.assert_allclose(share, [1, 1, 1, 0.5, 0.4, 0.4], atol=1e-6)


def test_mass_takes_the_fewest_that_reach_it():
    scores = jnp.array([[0.1, 0.4, 0.2, 0.3]])
    for mass, expected in ((0.4, 1), (0.41, 2), (0.7, 2), (0.9, 3), (1.0, 4)):
        chosen = spatio_semantic.by_mass(scores, jnp.array([mass]))
        assert int(chosen.sum()) == expected and bool(chosen[0, 1])


def test_contours_stay_and_speed_costs_semantic_tokens():
    stage = SpatioSemantic()
    seen = scene(
        [[0.4, 0.3, 0.2, 0.1]] * 2,
        edges=jnp.array([[[0, 0, 0, 0.5]], [[0, 0, 0, 0.0]]]),
        speed=jnp.array([0.6, 0.6]),
    )
    valid = combine(stage, seen, None)[0].valid
    np.testing.assert_array_equal(valid, [[1, 1, 0, 1], [1, 1, 0, 0]])
    still = seen._replace(extras={**seen.extras, "speed": jnp.array([0.0, 2.0])})
    valid = combine(stage, still)[0].valid
    np.testing.assert_array_equal(valid, [[1, 1, 1, 1], [1, 1, 0, 0]])  # floor 0.4 of 4


def test_edges_lie_where_the_step_is():
    pytest.importorskip("cv2", reason="OpenCV comes with the simulator's requirements")
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, 20:] = 255
    shares = edge_shares(np.stack([image, image * 0]), 4, 100, 200).reshape(2, 4, 4)
    assert (shares[0][:, [0, 1, 3]] == 0).all() and (shares[0][:, 2] > 0.1).all()
    assert (shares[1] == 0).all()


def test_effective_number_by_hand():
    flat, sharp = jnp.zeros((1, 8)), jnp.array([[0.0] * 7 + [1.0]])
    np.testing.assert_allclose(effective_number(flat, 0.02), [8], rtol=1e-5)
    np.testing.assert_allclose(effective_number(sharp, 0.02), [1], rtol=1e-5)
    half = jnp.array([[1.0, 1, 0, 0]])
    np.testing.assert_allclose(effective_number(half, 0.02), [2], rtol=1e-5)


def test_adaptive_keeps_what_the_words_point_at():
    scores = jnp.array([[0.0, 1.0, 0, 1, 0, 0, 1, 0], [0.0] * 8])
    seen = scene(np.zeros((2, 8)), details={"patch_scores": scores})
    valid = combine(AdaptiveRatio(), seen, None)[0].valid
    np.testing.assert_array_equal(valid, [np.asarray(scores[0]) > 0, [True] * 8])
    with pytest.raises(InputError, match="ID-Pruner"):
        AdaptiveRatio().combine(scene(np.zeros((1, 4))), None)


RECEIVED = hnp.arrays(np.float32, (2, 8), elements=st.floats(0, 1, width=16))


@jit
def combined(received, speed):
    seen = scene(received, jnp.ones((2, 8, 1)), edges=jnp.zeros((2, 1, 8)), speed=speed)
    stages = FoPru(), VisionZip(), PruMerge(), SpatioSemantic()
    return [stage.combine(seen, None)[0] for stage in stages]


@settings(max_examples=40, deadline=None)
@given(RECEIVED, st.floats(0, 2, width=16))
def test_budgets_order_and_independence(received, speed):
    speeds = np.array([speed, 0.7], np.float32)
    fopru_, zipped, merged, spatial = jax.tree.map(np.asarray, combined(received, speeds))
    picked = fopru_.weights.argmax(-1)
    assert (np.diff(picked) > 0).all() and fopru_.weights.shape == (2, 4, 8)
    assert zipped.weights.shape == (2, 4, 8) and (zipped.weights.sum((1, 2)) >= 4 - 1e-5).all()
    assert (np.diff(merged.valid.astype(int)) <= 0).all()  # no gaps
    share = np.asarray(retained_share(jnp.asarray(speeds), 0.2, 1.0, 0.4))
    assert spatial.valid.sum(1).tolist() == np.ceil(share * 8 - 1e-4).tolist()
    other = received.copy()
    other[0] = other[0, ::-1]
    for before, after in zip(
        (fopru_, zipped, merged, spatial), combined(other, speeds), strict=True
    ):
        for a, b in zip(before, after, strict=True):
            assert a is None or np.array_equal(a[1], b[1])


def test_density_peaks_by_hand():
    x = jnp.array([[[0.0], [0.1], [5.0], [5.1], [9.0]]])
    pool = jnp.array([[True, True, True, True, False]])
    centres, members = jit(lambda x, pool: density_peaks(x, pool, 2))(x, pool)
    assert np.flatnonzero(centres[0]).tolist() == [0, 2]
    np.testing.assert_allclose(members[0, 0], [0.5, 0.5, 0, 0, 0])
    np.testing.assert_allclose(members[0, 2], [0, 0, 0.5, 0.5, 0])


def test_sparsevlm_plans_as_released_and_scales_down():
    # 576: 276 go, of which 83 form 9 clusters; 309: 109 go, 33, 4; 204: 94 go, 29, 3.
    assert SparseVLM().plan(576) == [(300, 83, 9), (200, 33, 4), (110, 29, 3)]
    assert [(c.before, c.size) for c in SparseVLM().cuts(576)] == [(3, 309), (7, 204), (16, 113)]
    assert SparseVLM().scaled(32) == SparseVLM()
    assert SparseVLM().scaled(3).layers == (1,)
