"""Parsing of commands whose flags include a configuration file."""

from __future__ import annotations

from absl import flags

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
