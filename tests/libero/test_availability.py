from __future__ import annotations

from types import SimpleNamespace

import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.availability import (
    available,
    check_available,
    missing_objects,
    needed_objects,
)
from semanticvla_jax.libero.suites import find_task, suite_tasks

pytestmark = pytest.mark.sim
SOUP, STOVE = find_task("libero_object", 0), find_task("libero_10", 2)


@pytest.fixture
def assets(tmp_path):
    """Everything that the task with the moka pot needs."""
    for name in ("flat_stove", "moka_pot", "chefmate_8_frypan"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.xml").write_text("<mujoco/>")
    return SimpleNamespace(path=tmp_path, kind="partial")


def test_objects_come_from_the_task_file_without_the_room():
    assert needed_objects(STOVE) == {"flat_stove", "moka_pot", "chefmate_8_frypan"}
    assert "basket" in needed_objects(SOUP) and "floor" not in needed_objects(SOUP)


def test_tasks_without_their_objects_are_left_out_or_refused(assets, capsys):
    assert missing_objects(STOVE, assets) == set()
    assert available([SOUP, STOVE], assets) == [STOVE]
    assert "1 of 2 tasks left out, objects are missing: libero_object 0" in capsys.readouterr().out
    check_available([STOVE], assets)
    with pytest.raises(InputError, match="no .*basket.*libero_object 0.*--tasks available"):
        check_available([SOUP, STOVE], assets)


def test_the_generated_assets_have_four_suites_and_most_of_the_fifth():
    from semanticvla_jax.libero.boot import boot

    assets = boot("generated")
    suites = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
    check_available([task for suite in suites for task in suite_tasks(suite)], assets)
    assert len(available(suite_tasks("libero_90"), assets)) >= 67
