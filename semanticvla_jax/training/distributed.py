"""Several processes, one run: joined by JAX's own runtime, where a cluster says there are some.

Each process runs the same command. Who leads and how many there are comes from

1. JAX_COORDINATOR_ADDRESS (host:port), JAX_NUM_PROCESSES and JAX_PROCESS_ID, where they are set;
2. else what JAX detects: TPU pods, Slurm steps, Open MPI, Kubernetes jobs;
3. else this process is the only one.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from semanticvla_jax.errors import InputError

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def join() -> None:
    """Joins the other processes of this run, if there are any; before anything else uses JAX.

    Raises:
      InputError: only some of the variables are set, or a number is none.
    """
    given = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if given and (len(given) < len(VARIABLES) or not _are_numbers(given)):
        raise InputError(
            "variables of a distributed run",
            found=", ".join(f"{name}={value}" for name, value in given.items()),
            expected="an address HOST:PORT, a number of processes and this process's number",
            fix=f"set all of {', '.join(VARIABLES)}, or none of them",
        )
    if given:
        address, count, number = (given[name] for name in VARIABLES)
        jax.distributed.initialize(address, int(count), int(number))
        return
    try:
        jax.distributed.initialize()
    except ValueError as error:
        if "coordinator_address should be defined" not in str(error):
            raise  # a cluster was detected, and joining it failed


def leads() -> bool:
    """Whether this process writes what is written once: metrics, pictures, messages."""
    return jax.process_index() == 0


def all_agree(yes: bool) -> bool:
    """Whether every process says yes; all of them must ask."""
    if jax.process_count() == 1:
        return yes
    return bool(multihost_utils.process_allgather(np.array(yes)).all())


def fails_at_once(main: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a command's `main` so that a process that fails does not wait for the others.

    JAX would let it, at exit, while they wait for it inside a step. Once it is gone, JAX's runtime
    ends them: after the leader at once, after another process within two minutes.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except BaseException as error:
            if jax.distributed.is_initialized():
                _end(error)
            raise

    return wrapped


def _end(error: BaseException) -> NoReturn:
    """Ends this process as Python would, without what was registered for its exit."""
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    elif isinstance(error.code, str):
        print(error.code, file=sys.stderr)
    for child in multiprocessing.active_children():
        child.terminate()
    sys.stdout.flush()
    sys.stderr.flush()
    code = error.code if isinstance(error, SystemExit) else 1
    os._exit(1 if isinstance(code, str) else code or 0)


def _are_numbers(given: dict[str, str]) -> bool:
    return all(given[name].isdecimal() for name in VARIABLES[1:])
