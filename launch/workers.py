"""What each worker of a TPU slice does: lines of shell that prepare it, and that train there."""

from __future__ import annotations

import shlex

from launch import training
from semanticvla_jax.errors import InputError

UV = "uv==0.13.8"  # as in launch/setup.sh; brings the Python that the machines lack
ROLE = "-r requirements.txt -r requirements/tpu.txt -r requirements/lerobot.txt"
FOLDER = "semanticvla_jax"


def lines(arguments, flags: list[str]) -> tuple[list[str], list[str]]:
    """(preparing, training) lines.

    Args:
      arguments: image, or repository and commit; prepare: the user's own lines; env, mount, name.
      flags: of training.

    Raises:
      InputError: neither an image nor a repository with a commit, or bad training flags.
    """
    if arguments.image:
        prepare, train = _container(arguments, flags)
    elif arguments.repository and arguments.commit:
        prepare, train = _clone(arguments, flags)
    else:
        raise InputError(
            "what to run on the workers",
            found="neither an image nor a repository with a commit",
            expected="--image, or --repository and --commit",
            fix="add them; the workers must be able to read it",
        )
    return ["set -e", *arguments.prepare, *prepare], train


def _container(arguments, flags: list[str]) -> tuple[list[str], list[str]]:
    train = training.command(flags, restarted=True)
    words = ["--rm", "--init", "--privileged", "--net=host", f"--name={arguments.name}"]
    words += ["--stop-timeout=120"]
    words += [f"--env={variable}" for variable in arguments.env]
    words += [f"--volume={folder}:{folder}" for folder in arguments.mount]
    return (
        [shlex.join(["sudo", "docker", "pull", arguments.image])],
        [
            f"sudo docker rm --force {arguments.name}",
            shlex.join(["exec", "sudo", "docker", "run", *words, arguments.image, *train]),
        ],
    )


def _clone(arguments, flags: list[str]) -> tuple[list[str], list[str]]:
    python = ".venv/bin/python"
    train = training.command(flags, python=python, restarted=True)
    environment = ["env", *arguments.env] if arguments.env else []
    return (
        [
            f"test -d {FOLDER} || git clone {shlex.quote(arguments.repository)} {FOLDER}",
            f"cd {FOLDER}",
            "git fetch --quiet origin",
            f"git checkout --quiet --detach {shlex.quote(arguments.commit)}",
            f"python3 -m pip install --quiet --user {UV}",
            "uv=~/.local/bin/uv",
            "$uv venv --quiet --allow-existing --python 3.12 .venv",
            f"$uv pip install --quiet --python {python} -c requirements/constraints.txt {ROLE}"
            + " -r requirements/wandb.txt",
        ],
        [f"cd {FOLDER}", shlex.join(["exec", *environment, *train])],
    )
