"""The example robot: its loop by hand, and the real simulator over the network."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.client.chunk_runner import ChunkRunner
from semanticvla_jax.client.plans import Hold, ServerLate
from semanticvla_jax.serving.libero_robot import STYLES, main, run_episode
from tests.serving.running import FakePolicy, observation, running


class Scene:
    """A robot on a line: done when the sum of its actions reaches 12."""

    instruction = "go"

    def reset(self, placement) -> None:
        self.position, self.observed = 0.0, 0

    def observe(self) -> dict:
        self.observed += 1
        seen = observation(self.position)
        del seen["instruction"]
        return seen

    def step(self, action: np.ndarray) -> bool:
        self.position += float(action[0])
        return self.position >= 12


def runner_of(style, client, ask, **options) -> ChunkRunner:
    return ChunkRunner(
        ask, every=style.every, when_late=Hold.on(client.metadata, **options), combine=style.combine
    )


@pytest.mark.parametrize(
    "name, steps, observed",
    [
        # A chunk counts up from the position: 0 + 1 + 2 + 3 = 6, then 6 more.
        ("open_loop", 5, 2),
        # Means of 0; 1 0; 2 1 0.5; 3 2 1.5 1.67; 3 2.5 2.67 3.71; ...: at 0 0.5 1.67 3.7 6.7 11.3.
        ("ensemble", 7, 7),
    ],
)
def test_styles(name, steps, observed):
    scene, style, ticks = Scene(), STYLES[name], []
    with running(FakePolicy(chunk=4)) as server, server.client() as client:
        with style.asking(client.infer) as ask:
            runner = runner_of(style, client, ask)
            ended = run_episode(scene, None, runner, max_steps=50, tick=lambda: ticks.append(1))
    assert ended == (True, steps)
    assert scene.observed == observed and len(ticks) == steps - 1


def test_it_gives_up():
    with running(FakePolicy(chunk=4, offset=-100)) as server, server.client() as client:
        with STYLES["background"].asking(client.infer) as ask:
            runner = runner_of(STYLES["background"], client, ask)
            assert run_episode(Scene(), None, runner, max_steps=9) == (False, 9)


def test_it_stops_when_the_server_is_gone():
    style = STYLES["background"]
    with running(FakePolicy(chunk=4, offset=-100)) as server:
        client = server.client(timeout=0.05)
        with style.asking(client.infer) as ask:
            runner = runner_of(style, client, ask, patience=0.0)

            def tick():
                server.server.slot.current.policy.gate.clear()

            with pytest.raises(ServerLate):
                run_episode(Scene(), None, runner, max_steps=10_000, tick=tick)
            server.server.slot.current.policy.gate.set()
        client.close()


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.timeout(600)
def test_the_real_simulator(capsys):
    with running(FakePolicy(camera_size=64)) as server:
        main(["--url", server.url, "--suite", "libero_object", "--states", "0,3"])
    printed = capsys.readouterr().out
    assert printed.endswith("success=0/2\n") and "state 3: success=False steps=280" in printed
