"""Pictures of kept tokens: which patches they are made of, and how those are drawn."""

from __future__ import annotations

from unittest import mock

import jax
import numpy as np
import pytest

from semanticvla_jax.accelerate.fastv import FastV
from semanticvla_jax.accelerate.fopru import FoPru
from semanticvla_jax.accelerate.pictures import DARK, draw, evenly, kept_patches, shaded
from semanticvla_jax.accelerate.program import Program
from semanticvla_jax.accelerate.replay import Frame, read_frames
from semanticvla_jax.accelerate.visionzip import VisionZip
from semanticvla_jax.errors import InputError
from tests.accelerate.policies import ROBOT, observation, policy
from tests.models.smallest import jit


@pytest.fixture(autouse=True)
def quick_compilation():
    with mock.patch.object(jax, "jit", jit):
        yield


def frames(count: int) -> list[Frame]:
    return [Frame(2 * i, policy().prepare(observation(i)), None) for i in range(count)]


def test_patches_that_get_through():
    plain, cut, (frame,) = policy(), FastV(before=1), frames(1)
    program = Program(plain.model, plain.params, methods=[cut])
    sources = program.sources(program.hear(frame.inputs), {}, {})[0]
    # Of each camera 2 cues, which lie nowhere, and 4 anchors, which are a patch each, in order.
    assert sources.shape == (2, 6, 16) and (sources[:, :2] == 0).all()
    assert (np.diff(sources[:, 2:].argmax(-1)) > 0).all() and (sources[:, 2:].sum(-1) == 1).all()
    rows = kept_patches(program, [frame], ROBOT)[0]
    assert set(np.unique(rows)) <= {0.0, 1.0} and (rows <= sources.max(1)).all()
    assert rows.sum() <= cut.keep(12)


@pytest.mark.slow
def test_patches_of_anchors_and_of_mixtures():
    plain, (frame,) = policy(), frames(1)
    batch = {name: value[None] for name, value in frame.inputs.items()}
    details = jit(lambda p, b: plain.model.apply({"params": p}, b)[1])(plain.params, batch)
    anchors = np.asarray(details["siglip"]["kept_patches"])[0]
    everything = kept_patches(Program(plain.model, plain.params), [frame], ROBOT)[0]
    assert [np.flatnonzero(row).tolist() for row in everything] == np.sort(anchors).tolist()
    chosen = kept_patches(Program(plain.model, plain.params, FoPru()), [frame], ROBOT)[0]
    assert (chosen > 0).sum(1).tolist() == [2, 2] and (chosen <= everything).all()
    mixed = kept_patches(
        Program(plain.model, plain.params, VisionZip(contextual=0.5)), [frame], ROBOT
    )
    assert ((mixed[0] > 0) <= (everything > 0)).all() and mixed[0].max() <= 1


def test_shade_and_grid():
    image = np.full((4, 4, 3), 100, np.uint8)
    light = shaded(image, np.array([1.0, 0.0, 0.5, 1.0]), 2)[..., 0]
    dark, middle = round(100 * DARK), round(100 * (1 + DARK) / 2)
    assert light[0].tolist() == [100, 100, dark, dark]
    assert light[3].tolist() == [middle, middle, 100, 100]
    some = frames(2)
    rows = {"none": [np.ones((2, 16))] * 2, "half": [np.zeros((2, 16))] * 2}
    picture = np.asarray(draw(some, rows, 4))
    first = some[0].inputs["images"][0]
    assert (picture[16, 110] == first[0, 0]).all()
    assert picture.shape == (16 + 2 * 99, 110 + 2 * (2 * 96 + 3), 3)
    assert evenly(range(11), 3) == [0, 5, 10] and evenly(range(2), 6) == [0, 1]


def test_a_trace_of_another_robot_is_refused(tmp_path):
    with pytest.raises(InputError, match="trace_every"):
        read_frames(tmp_path / "none.npz", policy())
    path = tmp_path / "other.npz"
    arrays = {"query_steps": np.array([0, 2]), "actions": np.eye(7)[:4], "instruction": "push"}
    images = np.zeros((2, 2, 8, 8, 3), np.uint8)
    np.savez(path, images=images, state=np.zeros((2, 8)), **arrays)
    with pytest.raises(InputError, match="same robot"):
        read_frames(path, policy())
    np.savez(path, images=np.zeros((2, 2, 16, 16, 3), np.uint8), state=np.zeros((2, 8)), **arrays)
    first, second = read_frames(path, policy())
    assert first.last_action is None and second.last_action.tolist() == np.eye(7)[1].tolist()
    assert {"images", "state", "prompt_ids", "prompt_mask", "text_ids"} == set(second.inputs)
