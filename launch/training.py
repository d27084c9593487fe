"""What every launcher runs, once per process: `python -m semanticvla_jax.train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semanticvla_jax.errors import InputError

# Of a run that SIGTERM stopped after it was saved, as of one that SIGTERM killed: 128 + 15.
STOPPED = 143


def command(flags: Sequence[str], *, python: str = "python", restarted: bool = False) -> list[str]:
    """The training command.

    Args:
      flags: of training.
      python: the interpreter where it runs.
      restarted: whether a cluster starts it again when its exit status is STOPPED.

    Raises:
      InputError: no --config, or no such file; no --workdir.
    """
    config = flag(flags, "config").partition(":")[0]
    if not Path(config).is_file():
        raise InputError(
            "--config",
            found=config,
            expected="a configuration file of this repository, such as configs/libero_tiny.py",
            fix="correct it, and launch from the repository's root",
        )
    flag(flags, "workdir")
    status = [f"--stopped_status={STOPPED}"] if restarted else []
    return [python, "-m", "semanticvla_jax.train", *flags, *status]


def flag(flags: Sequence[str], name: str) -> str:
    """The value of a training flag, written `--name=value` or `--name value`.

    Raises:
      InputError: it is not there.
    """
    for position, word in enumerate(flags):
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
        if word == f"--{name}" and position + 1 < len(flags):
            return flags[position + 1]
    raise InputError(
        f"--{name}",
        found=" ".join(flags) or "no flags of training",
        expected=f"--{name} among the flags behind --",
        fix=f"end the command with -- --{name} VALUE and the other flags of training",
    )


def shared_workdir(flags: Sequence[str]) -> str:
    """--workdir on machines that do not share a working directory.

    Raises:
      InputError: it is relative, or an address that training cannot write to.
    """
    workdir = flag(flags, "workdir")
    if not Path(workdir).is_absolute():
        raise InputError(
            "--workdir",
            found=workdir,
            expected="an absolute path on a disk that every worker sees at the same place",
            fix="mount a Filestore share or a bucket (gcsfuse) on the workers and name it",
        )
    return workdir
