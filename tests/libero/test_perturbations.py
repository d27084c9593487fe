"""Each perturbation changes what it is about and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.env import LiberoEnv
from semanticvla_jax.libero.paraphrase import paraphrase
from semanticvla_jax.libero.perturbations import (
    KINDS,
    Perturbation,
    parse_perturbation,
    perturbed,
)
from semanticvla_jax.libero.placement import Official
from semanticvla_jax.libero.suites import SUITES, find_task, suite_tasks

CAMERAS = ("image", "wrist_image")
ACTIONS = np.random.default_rng(0).uniform(-1, 1, (6, 7))


@pytest.fixture(scope="module")
def env():
    env = LiberoEnv(find_task("libero_goal", 0), image_size=64)
    yield env
    env.close()


def begin(env, seed: int = 0, **strengths) -> dict[str, np.ndarray]:
    """What a perturbed episode starts with: images, state, instruction."""
    env.reset(perturbed(Official(1), Perturbation(**strengths), 1, seed))
    physics = env.sim.get_state().flatten()
    return {**env.observe(), "physics": physics, "instruction": env.instruction}


def changed(first: dict, second: dict) -> set[str]:
    return {name for name in first if not np.array_equal(first[name], second[name])}


@pytest.mark.sim
@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("camera", {"image"}),
        ("light", set(CAMERAS)),
        ("texture", {"image"}),
        ("distractor", {"image"}),
        ("state", {*CAMERAS, "physics", "state", "joint_state"}),
        ("paraphrase", {"instruction"}),
    ],
)
def test_it_changes_what_it_is_about_and_ends_with_the_episode(env, kind, what):
    usual = begin(env)
    first, other_seed = begin(env, **{kind: 1.0}), begin(env, seed=5, **{kind: 1.0})
    seen_by_chance = {"wrist_image"} if kind in ("texture", "distractor") else set()
    assert changed(usual, first) | seen_by_chance == what | seen_by_chance
    assert changed(first, begin(env, **{kind: 1.0})) == set(), "the same seed, the same change"
    assert changed(first, other_seed) or kind == "paraphrase"
    assert changed(usual, begin(env)) == set()
    assert changed(usual, begin(env, **{kind: 0.0})) == set()


@pytest.mark.sim
@pytest.mark.parametrize("kind", ["camera", "light", "texture", "distractor"])
def test_looks_do_not_change_physics(env, kind):
    def trajectory(**strengths) -> np.ndarray:
        begin(env, **strengths)
        return np.array([(env.step(action), *env.sim.get_state().flatten()) for action in ACTIONS])

    np.testing.assert_array_equal(trajectory(), trajectory(**{kind: 1.0}))


@pytest.mark.sim
@pytest.mark.parametrize("kind", ["camera", "light", "texture"])
def test_stronger_is_further_from_the_usual_picture(env, kind):
    usual = begin(env)["image"].astype(float)
    distances = [
        np.abs(begin(env, **{kind: strength})["image"] - usual).mean() for strength in (0.1, 0.4, 1)
    ]
    assert distances[0] > 0 and distances == sorted(distances)


@pytest.mark.sim
def test_several_at_once_are_the_single_ones_together(env):
    everything = begin(env, **dict.fromkeys(KINDS, 1.0))
    np.testing.assert_array_equal(everything["physics"], begin(env, state=1.0)["physics"])
    assert everything["instruction"] == begin(env, paraphrase=1.0)["instruction"]


@pytest.mark.sim
def test_the_robot_and_the_objects_keep_their_surfaces(env):
    """Repainted are the room and the table; the plate's pixels are lit as before."""
    model = env.looks.model
    begin(env)
    before = {name: getattr(model, name).copy() for name in ("geom_rgba", "mat_rgba", "tex_data")}
    begin(env, texture=1.0)
    objects = set(env.env.obj_body_id.values())
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        robot = model.body(model.body_rootid[body]).name.startswith(("robot0", "gripper0"))
        if robot or body in objects:
            np.testing.assert_array_equal(model.geom_rgba[geom], before["geom_rgba"][geom])
            for texture in set(model.mat_texid[model.geom_matid[geom]].ravel()) - {-1}:
                start = model.tex_adr[texture]
                here = slice(start, start + 100)
                np.testing.assert_array_equal(model.tex_data[here], before["tex_data"][here])
    assert (model.tex_data != before["tex_data"]).any()


def test_every_command_can_be_said_otherwise_with_the_same_things_named():
    for suite in SUITES:
        for task in suite_tasks(suite):
            for seed in range(3):
                said = paraphrase(task.instruction, 1.0, np.random.default_rng(seed))
                assert said != task.instruction
                kept = set(task.instruction.split()) & set(said.split())
                verbs = {"pick", "up", "place", "put", "open", "close", "turn", "push", "stack"}
                assert set(task.instruction.split()) - kept <= verbs


def test_strength_is_the_share_of_replaced_words():
    sentence = "pick up the book and place it in the back compartment of the caddy"
    weak = paraphrase(sentence, 0.1, np.random.default_rng(0))
    strong = paraphrase(sentence, 1.0, np.random.default_rng(0))
    assert ("pick up" in weak) != ("place it" in weak)
    assert "pick up" not in strong and "place it" not in strong
    assert paraphrase(sentence, 0.0, np.random.default_rng(0)) == sentence


def test_parsing():
    assert parse_perturbation("camera=0.5, light=1") == Perturbation(camera=0.5, light=1)
    assert parse_perturbation("camera=0").key == parse_perturbation("").key == ""
    assert perturbed(Official(3), parse_perturbation("state=0"), 3, 0) == Official(3)
    keys = {
        perturbed(Official(3), Perturbation(camera=c), 3, s).key for c in (0.1, 1) for s in (0, 1)
    }
    assert len(keys) == 4


@pytest.mark.parametrize("text", ["camera", "camera=2", "camera=-0.1", "smell=1", "light=much"])
def test_bad_perturbations(text):
    with pytest.raises(InputError, match="--perturb"):
        parse_perturbation(text)
