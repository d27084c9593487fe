"""The Ray pool on clusters of this machine; a node dies midway."""

from __future__ import annotations

import functools
import os

import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.evaluation.engine import run_jobs
from semanticvla_jax.evaluation.local import ThisProcess
from tests.evaluation.fakes import FakePolicy, FaultyEnv, MeetingEnv, jobs, setup
from tests.evaluation.test_local import outcomes, unreadable

ray = pytest.importorskip("ray", reason="optional: requirements/ray.txt")
pytestmark = pytest.mark.slow

TODO = jobs(tasks=2, episodes=6)
NO_CPUS = {"num_cpus": 0}


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and two nodes of two; the last test kills one of them."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=2)
    path = [*filter(None, [os.environ.get("PYTHONPATH")]), os.getcwd()]
    ray.init(
        address=made.address,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(path)}},
    )
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def undisturbed() -> dict:
    return outcomes(run_jobs(ThisProcess(setup()), TODO, retries=0))


def pool(setup, policy=NO_CPUS, simulators: int = 3, timeout: float = 120):
    from semanticvla_jax.evaluation.ray_pool import RayPool, Resources

    resources = Resources(simulators, 1, {"num_cpus": 1}, policy)
    return RayPool(setup, resources, delay=0.01, timeout=timeout)


def test_results_are_those_of_one_process(cluster, tmp_path, undisturbed):
    meeting = functools.partial(MeetingEnv, tmp_path, 3)
    results = list(run_jobs(pool(setup(meeting)), TODO, retries=0))
    assert outcomes(results) == undisturbed
    assert {result["worker"] for _, result in results} == {0, 1, 2}


def test_exits_and_hangs_cost_one_attempt_each(cluster, tmp_path, undisturbed):
    faults = {1: "exit", 2: "hang", 3: "exception"}
    faulty = setup(functools.partial(FaultyEnv, faults, tmp_path))
    results = list(run_jobs(pool(faulty, timeout=20), TODO, retries=1))
    assert outcomes(results) == undisturbed
    kinds = sorted(result["error_type"] for _, result in results if result["status"] == "error")
    assert kinds == [*["RuntimeError"] * 2, *["WorkerDied"] * 2, *["WorkerHung"] * 2]


def test_a_policy_that_cannot_be_loaded_tells_its_reason(cluster):
    with pytest.raises(InputError, match="train again"):
        pool(setup(make_policy=unreadable))


def test_a_node_dies_midway_and_the_results_are_the_same(cluster):
    """The node that the policy is on, and some of the simulators."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    doomed = cluster.list_all_nodes()[-1]
    there = NodeAffinitySchedulingStrategy(doomed.node_id, soft=True)
    slow = setup(make_policy=functools.partial(FakePolicy, 0.1))
    todo = jobs(tasks=2, episodes=30)
    policy = {"num_cpus": 0, "scheduling_strategy": there}
    results, seen = run_jobs(pool(slow, policy, simulators=4), todo, retries=5), []
    while not seen or seen[-1][1]["node"] != doomed.node_id[:8]:
        seen.append(next(results))
    cluster.remove_node(doomed, allow_graceful=False)
    seen += results
    assert outcomes(seen) == outcomes(run_jobs(ThisProcess(setup()), todo, retries=0))
    errors = [result["error_type"] for _, result in seen if result["status"] == "error"]
    assert set(errors) == {"WorkerDied"}
    last = [result for _, result in seen if result["status"] == "ok"][-1]
    assert last["node"] != doomed.node_id[:8]
