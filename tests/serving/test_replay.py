"""A recorded episode, asked again of a server."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import LIBERO
from semanticvla_jax.serving.replay import Recorded, main, open_episode, replay, report
from tests.serving.running import FakePolicy, running


class TwoSteps:
    """A dataset of one frame of another episode and an episode of two steps."""

    name = "two_steps"
    states = np.array([[9.0] * 8, [0.5] * 8, [0.25] * 8], np.float32)

    def jpegs(self, frame: int) -> list[bytes]:
        from semanticvla_jax.data.images import encode_jpeg

        return [encode_jpeg(np.zeros((16, 16, 3), np.uint8))] * 2


def test_errors_by_hand():
    actions = np.array([[0.5] * 7, [1.0] * 7], np.float32)
    episode = Recorded(TwoSteps(), LIBERO, 1, actions, "go")
    with running(FakePolicy(chunk=3)) as server, server.client() as client:
        replayed = replay(client, episode)
    # Answers: 0.5 1.5 2.5 at step 0 and 0.25 ... at step 1; recorded: 0.5 1.0.
    np.testing.assert_allclose(replayed.error[0, :, 0], [0, 0.5, np.nan])
    np.testing.assert_allclose(replayed.error[1, :, 6], [0.75, np.nan, np.nan])
    assert replayed.latency.shape == (2,) and (replayed.latency > 0).all()
    last = report(replayed, LIBERO).splitlines()[-1]
    # First actions: (0 + 0.75) / 2; all that were recorded: (0 + 0.5 + 0.75) / 3.
    assert "queries=2 " in last and "first_error=0.3750 chunk_error=0.4167" in last


def test_the_gripper_is_compared_in_the_controllers_sign(tiny_dataset):
    episode = open_episode(tiny_dataset, LIBERO, 0)
    first, end = episode.source.episode_start[:2]
    np.testing.assert_array_equal(episode.actions[:, :6], episode.source.actions[first:end, :6])
    assert set(np.unique(episode.actions[:, 6])) <= {-1.0, 1.0}


def test_the_command(tiny_dataset, capsys):
    with running() as server:
        main(
            ["--url", server.url, "--dataset", str(tiny_dataset), "--episode", "2", "--every", "5"]
        )
    printed = capsys.readouterr().out
    assert printed.startswith("fake@1, 12 steps of libero_object_no_noops: ")
    assert "delta_x" in printed and "queries=3 p50_ms=" in printed


def test_no_such_episode(tiny_dataset):
    with pytest.raises(InputError, match="0 to 4"):
        open_episode(tiny_dataset, LIBERO, 5)


def test_no_server(tiny_dataset, monkeypatch):
    import semanticvla_jax.serving.replay as module

    def refused(url, **options):
        from semanticvla_jax.client.errors import ServingError

        raise ServingError("connection_lost", "refused")

    monkeypatch.setattr(module, "PolicyClient", refused)
    with pytest.raises(SystemExit, match="connection_lost"):
        main(["--dataset", str(tiny_dataset)])
