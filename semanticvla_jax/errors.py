"""The one exception that means "the user can fix this"."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")


class InputError(ValueError):
    """Bad input, told in one message: what is wrong, what was found, what was expected, the fix."""

    def __init__(self, what: str, *, found: Any, expected: Any, fix: str):
        self.what, self.found, self.expected, self.fix = what, found, expected, fix
        super().__init__(f"{what}: found {found}, expected {expected}. Fix: {fix}")

    def __reduce__(self):
        # Keyword-only arguments need help to survive the trip from a worker process.
        return _rebuild, (self.what, str(self.found), str(self.expected), self.fix)


def _rebuild(what: str, found: str, expected: str, fix: str) -> InputError:
    return InputError(what, found=found, expected=expected, fix=fix)


def choose(table: Mapping[str, Value], name: str, what: str, fix: str = "name another") -> Value:
    """`table[name]`.

    Args:
      what: is chosen, for the message; a configuration's entry, or a slot.
      fix: what to do about it.

    Raises:
      InputError: no such name; the message lists those there are.
    """
    if name not in table:
        names = ", ".join(map(str, table)) or "nothing"
        raise InputError(what, found=repr(name), expected=f"one of {names}", fix=fix)
    return table[name]


def exit_on_input_error(main: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a command's `main` so that `InputError` prints one line to stderr and exits with 2."""

    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    return wrapped
