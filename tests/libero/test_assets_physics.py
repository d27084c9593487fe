"""Generated assets in the simulator: same physics as the originals, all initial states load."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from semanticvla_jax.libero.assets import generate, resolve
from semanticvla_jax.libero.env import LiberoEnv
from semanticvla_jax.libero.placement import Official
from semanticvla_jax.libero.suites import Task, official_states, suite_tasks

pytestmark = pytest.mark.sim

SUITES = ("libero_object", "libero_spatial", "libero_goal", "libero_10")
TASKS = [task for suite in SUITES for task in suite_tasks(suite)]
# One per room and fixture: floor; cabinet; stove, rack and bottle; living room; white cabinet;
# desk caddy; microwave.
FEW = {
    ("libero_object", 0), ("libero_spatial", 4), ("libero_goal", 7), ("libero_10", 0),
    ("libero_10", 3), ("libero_10", 5), ("libero_10", 9),
}  # fmt: skip
STEPS = 20


def name(task: Task) -> str:
    return f"{task.suite}-{task.index}"


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> resolve.Assets:
    directory = tmp_path_factory.mktemp("generated")
    generate.write_assets(directory)
    return resolve.Assets("generated", directory, resolve.content_digest(directory))


@pytest.fixture(scope="module")
def original(shared_dir) -> resolve.Assets:
    return resolve.Assets("directory", shared_dir / "libero_assets", "original")


@pytest.mark.parametrize("task", TASKS, ids=name)
def test_all_initial_states_load_and_the_model_compiles_silently(task, generated):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = LiberoEnv(task, assets=generated)
    model, data = env.sim.model._model, env.sim.data._data
    states = official_states(task)
    assert states.shape == (50, 1 + model.nq + model.nv)
    for state in states:
        env.set_state(state)
        assert np.isfinite(data.qacc).all()
    env.close()
    assert [str(w.message) for w in caught if not issubclass(w.category, DeprecationWarning)] == []
    assert sum(warning.number for warning in data.warning) == 0


def rollout(task: Task, assets: resolve.Assets) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """States f64[STEPS, n] under fixed actions, and everything in the model that moves bodies."""
    env = LiberoEnv(task, assets=assets)
    env.reset(Official(0))
    rng = np.random.default_rng(0)
    states = []
    for _ in range(STEPS):
        env.step(np.append(rng.uniform(-1, 1, 6), rng.choice([-1.0, 1.0])))
        states.append(env.sim.get_state().flatten())
    physics = constants(env.sim.model._model)
    env.close()
    return np.stack(states), physics


def constants(model) -> dict[str, np.ndarray]:
    touching = np.flatnonzero(model.geom_contype | model.geom_conaffinity)
    geoms = ("type", "pos", "quat", "size", "friction", "solref", "solimp", "margin", "condim",
             "contype", "conaffinity", "group", "bodyid")  # fmt: skip
    others = ("body_mass", "body_inertia", "body_pos", "body_quat", "jnt_type", "jnt_axis",
              "jnt_range", "dof_damping", "site_pos", "site_quat", "site_size")  # fmt: skip
    return {
        **{f"geom_{key}": getattr(model, f"geom_{key}")[touching] for key in geoms},
        **{key: getattr(model, key) for key in others},
        "bodies": np.array([model.body(i).name for i in range(model.nbody)]),
        "joints": np.array([model.joint(i).name for i in range(model.njnt)]),
        "sites": np.array([model.site(i).name for i in range(model.nsite)]),
    }


def assert_same_physics(task: Task, generated: resolve.Assets, original: resolve.Assets) -> None:
    states, physics = rollout(task, generated)
    reference_states, reference = rollout(task, original)
    for key, value in reference.items():
        if value.dtype.kind == "U":
            assert physics[key].tolist() == value.tolist(), key
        else:
            np.testing.assert_allclose(physics[key], value, rtol=0, atol=1e-7, err_msg=key)
    np.testing.assert_allclose(states, reference_states, rtol=0, atol=1e-6)


@pytest.mark.parametrize("task", [t for t in TASKS if (t.suite, t.index) in FEW], ids=name)
def test_physics_equals_the_original(task, generated, original):
    assert_same_physics(task, generated, original)


@pytest.mark.slow
@pytest.mark.parametrize("task", [t for t in TASKS if (t.suite, t.index) not in FEW], ids=name)
def test_physics_equals_the_original_in_the_other_tasks(task, generated, original):
    assert_same_physics(task, generated, original)
