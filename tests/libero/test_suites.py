from __future__ import annotations

import io
import pickle

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero import suites

FOUR = ("libero_spatial", "libero_object", "libero_goal", "libero_10")


@pytest.mark.parametrize("suite", FOUR)
def test_every_task_has_its_files_and_fifty_initial_states(suite):
    tasks = suites.suite_tasks(suite)
    assert [task.index for task in tasks] == list(range(10))
    for task in tasks:
        assert task.bddl_path.is_file()
        states = suites.official_states(task)
        assert states.shape[0] == 50 and states.dtype == np.float64
        assert np.isfinite(states).all()


def test_tasks_are_found_by_index_and_name():
    task = suites.find_task("libero_object", 0)
    assert task.name == "pick_up_the_alphabet_soup_and_place_it_in_the_basket"
    assert suites.find_task("libero_object", "0") == task
    assert suites.find_task("libero_object", task.name) == task


@pytest.mark.parametrize(
    ("name", "instruction"),
    [
        ("open_the_middle_drawer_of_the_cabinet", "open the middle drawer of the cabinet"),
        ("KITCHEN_SCENE3_turn_on_the_stove", "turn on the stove"),
        ("LIVING_ROOM_SCENE10_turn_on_it", "turn on it"),
    ],
)
def test_instruction_is_the_file_name_without_its_scene(name, instruction):
    assert suites.instruction_from_name(name) == instruction


def test_unknown_suite_lists_the_suites():
    with pytest.raises(InputError, match="libero_spatial, libero_object, libero_goal"):
        suites.suite_tasks("libero_objects")


@pytest.mark.parametrize("task", [10, -1, "0 ", "pick_up"])
def test_unknown_task_lists_the_tasks(task):
    with pytest.raises(InputError, match="1 = pick_up_the_cream_cheese"):
        suites.find_task("libero_object", task)


def test_initial_states_cannot_smuggle_in_code():
    evil = pickle.dumps(print)
    with pytest.raises(pickle.UnpicklingError, match="print"):
        suites._ArrayUnpickler(io.BytesIO(evil)).load()
