"""What a continued run may change."""

from __future__ import annotations

import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.training.same_run import check_same_configuration, check_same_data

CONFIG = {"seed": 0, "mesh": {"data": 1, "fsdp": 1}, "data": {"path": "here", "crop_area": 0.9}}
ACTION = {"q01": [-1.0, 0.25], "mask": [True, False]}
DATA = {"milk": {"action": ACTION, "num_trajectories": 5}, "stove": {}}


def test_how_a_run_is_carried_out_may_change():
    config = CONFIG | {"mesh": {"data": 2, "fsdp": 4}, "log_every": 5, "wandb": "name"}
    config["data"] = config["data"] | {"path": "there", "workers": 3}
    check_same_configuration(CONFIG, config, "run")


@pytest.mark.parametrize(
    "config, message",
    [
        (CONFIG | {"seed": 1}, "seed: 0 -> 1"),
        (CONFIG | {"data": {"path": "here"}}, "data.crop_area: 0.9 -> absent"),
        (CONFIG | {"ema_decay": 0.9}, "ema_decay: 0.0 -> 0.9"),
    ],
)
def test_what_comes_out_of_it_may_not(config, message):
    with pytest.raises(InputError, match=message):
        check_same_configuration(CONFIG, config, "run")


def test_the_same_data():
    action = ACTION | {"q01": [-1.0 + 1e-6, 0.25]}
    check_same_data(DATA, DATA | {"milk": {"action": action, "num_trajectories": 5}})


@pytest.mark.parametrize(
    "current, message",
    [
        ({"milk": DATA["milk"]}, "datasets milk, instead of milk, stove"),
        ({"stove": {}, "milk": DATA["milk"]}, "datasets stove, milk, instead of milk, stove"),
        (DATA | {"milk": {"action": ACTION, "num_trajectories": 6}}, "actions in milk"),
        (DATA | {"milk": {"action": ACTION | {"q01": [-1.0, 0.26]}}}, "actions in milk"),
        (DATA | {"milk": {"action": ACTION | {"q01": [-1.0]}}}, "actions in milk"),
    ],
)
def test_other_data_are_refused(current, message):
    with pytest.raises(InputError, match=message):
        check_same_data(DATA, current)
