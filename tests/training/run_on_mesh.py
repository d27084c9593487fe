"""A run of a smallest model as a process of its own: `CONFIG DATASET WORKDIR key=value ...`.

Values are JSON; keys are dotted paths into the configuration. Its processes and simulated devices
come from the environment. With SEND=SIGTERM:N in it, the process sends itself that signal behind
step N. WORKDIR/shards.json tells how the parameters lay on the devices.
"""

import json
import os
import signal
import sys
from pathlib import Path

from semanticvla_jax import train
from semanticvla_jax.training import distributed, loop, parameters
from semanticvla_jax.training.preemption import Preempted
from tests.smallest import CONFIGS


@distributed.fails_at_once
def main(config_name: str, dataset: str, workdir: str, *changes: str) -> None:
    config = CONFIGS[config_name](dataset)
    config.update_from_flattened_dict(
        {key: json.loads(value) for key, value in (change.split("=", 1) for change in changes)}
    )
    distributed.join()
    if "SEND" in os.environ:
        name, step = os.environ["SEND"].split(":")
        send_behind(int(step), signal.Signals[name])
    tell_shards(Path(workdir) / "shards.json")
    try:
        train.train(config, workdir)
    except Preempted as stopped:
        print(stopped)


def send_behind(last: int, number: signal.Signals) -> None:
    received = loop.Notice.received

    def send_first(notice, step):
        if step == last:
            os.kill(os.getpid(), number)
        return received(notice, step)

    loop.Notice.received = send_first


def tell_shards(path: Path) -> None:
    """Writes {parameter: [its shape, the shape of one device's part]}."""
    run_steps = train.run_steps

    def run_telling(trainer, state, frozen, *rest):
        params = parameters.flatten(parameters.merge(state.trainable, frozen))
        shards = {
            name: [leaf.shape, leaf.sharding.shard_shape(leaf.shape)]
            for name, leaf in params.items()
        }
        if distributed.leads():
            path.write_text(json.dumps(shards))
        return run_steps(trainer, state, frozen, *rest)

    train.run_steps = run_telling


if __name__ == "__main__":
    main(*sys.argv[1:])
