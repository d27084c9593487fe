"""What commands with a `--config` flag share: parsing, and saying what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from semanticvla_jax.errors import InputError


def parse(argv: list[str]) -> list[str]:
    """Flags, for absl's `app.run(..., flags_parser=parse)`; returns the other arguments.

    Raises:
      InputError: whatever the flags, the configuration file or its overrides raise, in one message.
    """
    try:
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, InputError):
            cause = cause.__context__
        raise cause or InputError(
            "command line",
            found=f"{' '.join(argv[1:])} ({str(error).strip().splitlines()[-1]})",
            expected="flags of this command, and entries that the configuration has",
            fix="correct it; --help lists the flags",
        ) from None


def given_config(holder: flags.FlagHolder) -> tuple[str, Any]:
    """(file, configuration) of a `--config` flag.

    A file that is not there would show only when its content is asked for.

    Raises:
      InputError: none given, or no such file.
    """
    name = config_flags.get_config_filename(flags.FLAGS["config"]) if holder.value else "nothing"
    if not Path(name.partition(":")[0]).is_file():
        raise InputError(
            "--config",
            found=name,
            expected="a configuration file, such as configs/libero_tiny.py",
            fix="correct --config; an argument for the file follows a colon",
        )
    return name, holder.value
