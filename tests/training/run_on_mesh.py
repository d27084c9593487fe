"""A run of the smallest model as a process of its own: `DATASET WORKDIR key=value ...`.

Values are JSON; keys are dotted paths into the configuration. Its processes and simulated devices
come from the environment. With STOP_AFTER=N in it, SIGTERM arrives while step N is due.
"""

import json
import os
import signal
import sys

from semanticvla_jax import train
from semanticvla_jax.training import distributed, loop
from semanticvla_jax.training.preemption import Preempted
from tests.smallest import smallest_config


@distributed.fails_at_once
def main(dataset: str, workdir: str, *changes: str) -> None:
    config = smallest_config(dataset)
    config.update_from_flattened_dict(
        {key: json.loads(value) for key, value in (change.split("=", 1) for change in changes)}
    )
    distributed.join()
    stop_after(int(os.environ.get("STOP_AFTER", 0)))
    try:
        train.train(config, workdir)
    except Preempted as stopped:
        print(stopped)


def stop_after(last: int) -> None:
    received = loop.Notice.received

    def send_first(notice, step):
        if step == last:
            os.kill(os.getpid(), signal.SIGTERM)
        return received(notice, step)

    loop.Notice.received = send_first


if __name__ == "__main__":
    main(*sys.argv[1:])
