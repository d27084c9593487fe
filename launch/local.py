"""Trains with several processes on this machine, joined by `jax.distributed` on loopback.

    python -m launch.local --processes 2 \\
        -- --config configs/libero_tiny.py --workdir runs/soup --config.data.path=datasets/soup

GPUs, where there are some, are divided among the processes. SIGTERM saves and stops all of them;
when one fails, all end with its exit status.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys

from launch import processes, shell, training
from semanticvla_jax.errors import InputError, exit_on_input_error


def parser() -> shell.Parser:
    parser = shell.Parser(__doc__)
    add = parser.add_argument
    add("--processes", type=shell.positive, required=True)
    add("--port", type=shell.positive, help="of their coordinator; default: a free one")
    return parser


def variables(count: int, port: int) -> list[dict[str, str]]:
    """Environment variables of each process, beside those that it inherits.

    Raises:
      InputError: the GPUs cannot be divided evenly.
    """
    address = f"127.0.0.1:{port}"
    joined = {"JAX_COORDINATOR_ADDRESS": address, "JAX_COORDINATOR_BIND_ADDRESS": address}
    return [
        joined | {"JAX_NUM_PROCESSES": str(count), "JAX_PROCESS_ID": str(number)} | share
        for number, share in enumerate(_shares(gpus(), count))
    ]


def _shares(devices: list[str], count: int) -> list[dict[str, str]]:
    if len(devices) % count:
        raise InputError(
            "--processes",
            found=f"{count} for {len(devices)} GPUs",
            expected="as many GPUs for each process",
            fix="change it, or name the GPUs to use in CUDA_VISIBLE_DEVICES; JAX_PLATFORMS=cpu "
            "uses none",
        )
    size = len(devices) // count
    return [
        {"CUDA_VISIBLE_DEVICES": ",".join(devices[n * size : (n + 1) * size])} if size else {}
        for n in range(count)
    ]


def gpus() -> list[str]:
    """Names of the GPUs to use, as CUDA_VISIBLE_DEVICES takes them."""
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name]
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True)
    return listed.stdout.split() if listed.returncode == 0 else []


def script(command: list[str], variables: list[dict[str, str]]) -> str:
    """What runs, as a shell would start it."""
    return "\n".join(
        [
            *(
                " ".join(f"{name}={shlex.quote(value)}" for name, value in one.items())
                + f" \\\n    {shlex.join(command)} &"
                for one in variables
            ),
            "wait",
        ]
    )


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@exit_on_input_error
def main(argv: list[str]) -> None:
    arguments, flags = parser().parse(argv)
    command = training.command(flags, python=sys.executable)
    each = variables(arguments.processes, arguments.port or free_port())
    if arguments.dry_run:
        print(script(command, each))
        return
    environments = [os.environ | one for one in each]
    sys.exit(processes.run_together([command] * len(each), environments))


if __name__ == "__main__":
    main(sys.argv[1:])
