"""A trained policy, the smallest there is, behind a server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from semanticvla_jax.policy import load_policy
from tests.serving.running import observation, running

CLIENTS = 5


@pytest.fixture(scope="module")
def policy(finished_run):
    return load_policy(finished_run)


def random_observation(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    return observation() | {
        "image": rng.integers(0, 256, (32, 32, 3), np.uint8),
        "wrist_image": rng.integers(0, 256, (40, 40, 3), np.uint8),
        "state": rng.uniform(-0.5, 0.5, 8).astype(np.float32),
    }


def test_clients_get_what_the_policy_gives(policy):
    """In batches of any size, without compiling once it is ready."""
    with running(policy, batch_sizes=(1, 4), batch_wait=0.02) as server:
        programs = policy.compiled.compile(())

        def episode(number: int) -> None:
            with server.client(robot="libero") as client:
                for step in range(6):
                    seen = random_observation(10 * number + step)
                    expected = policy.infer(seen)
                    np.testing.assert_allclose(client.infer(seen), expected, rtol=1e-4, atol=1e-5)

        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(episode, range(CLIENTS)))
        assert policy.compiled.compile(()) == programs
        sizes = server.server.metrics.batch_size
        assert sizes._sum.get() == 6 * CLIENTS


def test_metadata_of_a_checkpoint(policy, finished_run):
    with running(policy, batch_sizes=(1,)) as server, server.client() as client:
        assert client.metadata["policy"] == f"{finished_run.name}@6"
        assert client.camera_size == policy.camera_size == 32
