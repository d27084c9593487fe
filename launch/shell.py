"""What the launchers share: arguments, quoting, and showing or running a script."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Sequence

from semanticvla_jax.errors import InputError

INSTALLED_BY = {
    "gcloud": "install the Google Cloud CLI (https://cloud.google.com/sdk/docs/install) "
    "and run `gcloud init`",
    "xpk": "`pip install xpk`, and what it needs: gcloud, kubectl, gke-gcloud-auth-plugin",
    "sbatch": "run this on a login node of the Slurm cluster",
}


class Parser(argparse.ArgumentParser):
    """Arguments of a launcher, then `--` and the flags of `semanticvla_jax.train`.

    Has `--dry_run`; errors are InputErrors.
    """

    def __init__(self, description: str):
        super().__init__(
            description=description,
            usage="%(prog)s [arguments] -- --config FILE --workdir DIR [--config.x=y]",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument(
            "--dry_run", action="store_true", help="print what would run, run nothing"
        )

    def parse(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """(arguments, training flags).

        Raises:
          InputError: what argparse finds wrong.
        """
        argv = list(argv)
        cut = argv.index("--") if "--" in argv else len(argv)
        return self.parse_args(argv[:cut]), argv[cut + 1 :]

    def error(self, message: str) -> None:
        raise InputError(
            "command line",
            found=message,
            expected="this launcher's arguments, then -- and the flags of training",
            fix="correct it; --help lists the arguments",
        )


def checked_name(name: str) -> str:
    """Raises InputError unless clouds take the name."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", name):
        raise InputError(
            "--name",
            found=repr(name),
            expected="at most 40 lower-case letters, digits and hyphens, a letter first",
            fix="choose another name",
        )
    return name


def positive(text: str) -> int:
    """The type of arguments that count something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


def options(**values: object) -> list[str]:
    """`--name=value` words of what is set; underscores become hyphens, True has no value."""
    chosen = {name.replace("_", "-"): value for name, value in values.items()}
    return [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in chosen.items()
        if value not in (None, False)
    ]


def folded(command: str, words: Iterable[str], indent: str = "") -> str:
    """A shell command, each of the quoted words on a line of its own."""
    return f" \\\n{indent}    ".join([command, *map(shlex.quote, words)])


def show_or_run(script: str, *, needs: Sequence[str], dry_run: bool) -> None:
    """Prints a bash script, or becomes it: its exit status and signals are this process's.

    Raises:
      InputError: one of the executables in `needs` is not installed.
    """
    if dry_run:
        print(script)
        return
    for name in needs:
        if not shutil.which(name):
            raise InputError(
                f"executable `{name}`",
                found="none on PATH",
                expected="an installed one",
                fix=INSTALLED_BY[name] + "; --dry_run shows what would run",
            )
    os.execvp("bash", ["bash", "-c", script])
