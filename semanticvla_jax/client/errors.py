"""What a server answers when it cannot act: a code, what was found and expected, the fix."""

from __future__ import annotations

import json
from typing import Any

RETRYABLE = frozenset(
    {"busy", "rate_limited", "draining", "timeout", "connection_lost", "unavailable"}
)
"""Codes after which the same request may succeed; all others need a change first."""

_LONGEST = 300  # characters of each part: what was sent must not come back whole


class ServingError(RuntimeError):
    """A request that got no actions.

    Attributes:
      code: for programs, e.g. "busy", "bad_observation"; docs/serving.md lists them.
      message, found, expected, fix: for people.
      retry_after: seconds after which to ask again, if the server knows.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        found: Any = None,
        expected: Any = None,
        fix: str | None = None,
        retry_after: float | None = None,
    ):
        self.code, self.message = code, _short(message)
        self.found, self.expected, self.fix = _short(found), _short(expected), _short(fix)
        self.retry_after = retry_after
        super().__init__(f"{code}: {self.message}{self._details()}")

    @property
    def retryable(self) -> bool:
        return self.code in RETRYABLE

    def to_json(self) -> str:
        """The text frame (or HTTP body) that tells the client."""
        parts = {
            "code": self.code,
            "message": self.message,
            "found": self.found,
            "expected": self.expected,
            "fix": self.fix,
            "retry_after": self.retry_after,
        }
        return json.dumps({"error": {key: value for key, value in parts.items() if value}})

    @classmethod
    def from_text(cls, text: str) -> ServingError:
        """The error in a text frame; any other server's text (a traceback) is code "unknown"."""
        try:
            parts = dict(json.loads(text)["error"])
            return cls(str(parts.pop("code")), str(parts.pop("message")), **parts)
        except (ValueError, KeyError, TypeError):
            return cls("unknown", text)

    def _details(self) -> str:
        details = {"found": self.found, "expected": self.expected}
        told = ", ".join(f"{name} {value}" for name, value in details.items() if value)
        return (f": {told}" if told else "") + (f". Fix: {self.fix}" if self.fix else "")


def _short(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
