"""A policy that answers several simulators' queries in one batch, and the process it runs in."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from semanticvla_jax.inference.batches import padded
from semanticvla_jax.inference.options import DEFAULTS, InferenceOptions

Inputs = dict[str, np.ndarray]


class Query(NamedTuple):
    """One question; whoever answers it needs to know nothing else.

    Attributes:
      inputs: the model's, of one observation.
      explain: asks for the model's intermediates too.
      last_action: f[A] executed before, in the controller's units; None at an episode's begin.
      memory: what the last answer said to remember; None at an episode's begin.
    """

    inputs: Inputs
    explain: bool = False
    last_action: np.ndarray | None = None
    memory: tuple[np.ndarray, ...] | None = None


class Answer(NamedTuple):
    """What a query gets.

    Attributes:
      actions: f32[K, A], normalised.
      batch: how many queries were answered together.
      details: the model's intermediates, nested dicts of arrays without the batch axis, if asked.
      memory: for the episode's next query; None where a policy remembers nothing.
      kept, slots: of an accelerated policy: see accelerate.turns.Outcome.
    """

    actions: np.ndarray
    batch: int
    details: dict[str, Any] | None = None
    memory: tuple[np.ndarray, ...] | None = None
    kept: np.ndarray | None = None
    slots: tuple[int, ...] | None = None


Ask = Callable[[Query], Answer]


class ServedPolicy:
    """Answers batches of queries at a few fixed batch sizes, compiled before the first query.

    With one size, an answer does not depend on what else is in its batch: XLA runs the same
    program, in which a row's arithmetic does not involve the other rows. With several sizes it
    depends on the size in the last bits.
    """

    def __init__(self, policy, sizes: Sequence[int]):
        """Compiles a `semanticvla_jax.policy.Policy` for each of the ascending `sizes`."""
        self._policy, self.sizes = policy, tuple(sizes)
        self._compile()
        for size in self.sizes:
            self.answer([Query(policy.example())] * size)

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """One answer per query, at most `max(sizes)`."""
        answers = self._act(queries)
        if not any(query.explain for query in queries):
            return answers
        explained = self._policy.explain(self._policy.params, self._batch(queries))
        return [
            answer._replace(details=_row(explained, index)) if query.explain else answer
            for index, (query, answer) in enumerate(zip(queries, answers, strict=True))
        ]

    def _compile(self) -> None:
        self._policy.compile(self.sizes)

    def _act(self, queries: Sequence[Query]) -> list[Answer]:
        """Prompts of one room together, whatever company they came in."""
        room, answers = self._policy.compiled.room, {}
        rooms = [room(query.inputs) for query in queries]
        for length in sorted(set(rooms)):
            members = [index for index, other in enumerate(rooms) if other == length]
            rows = padded([queries[index].inputs for index in members], self.sizes)
            for index, actions in zip(members, self._policy.compute(rows), strict=False):
                answers[index] = Answer(actions, len(queries))
        return [answers[index] for index in range(len(queries))]

    def _batch(self, queries: Sequence[Query]) -> Inputs:
        from semanticvla_jax.policy import stack

        return stack(padded([query.inputs for query in queries], self.sizes))


def _row(tree: dict, index: int) -> dict[str, Any]:
    """One member's part; a number that holds for the whole batch, such as passes, stays."""

    def part(value):
        if hasattr(value, "_asdict"):
            value = value._asdict()
        if isinstance(value, dict):
            return _row(value, index)
        return np.asarray(value[index] if np.ndim(value) else value)

    return {name: part(value) for name, value in tree.items()}


def load_served(
    checkpoint: str,
    step: int | None,
    dataset: str | None,
    untrained: bool,
    sizes: Sequence[int] | None,
    accelerate: str = "",
    typical: str | None = None,
    options: InferenceOptions = DEFAULTS,
) -> ServedPolicy:
    """The policy of a checkpoint, ready to serve at `sizes`, or at one that suits the device.

    A CPU gains nothing from batches: one observation's products already fill it.
    """
    import jax

    from semanticvla_jax.policy import load_policy

    policy = load_policy(
        checkpoint, step=step, dataset=dataset, untrained=untrained, options=options
    )
    sizes = sizes or ((1,) if jax.default_backend() == "cpu" else (16,))
    if not accelerate:
        return ServedPolicy(policy, sizes)
    from semanticvla_jax.accelerate.load import load_accelerated
    from semanticvla_jax.evaluation.accelerated import AcceleratedPolicy

    accelerated = load_accelerated(policy, accelerate, checkpoint, step, typical)
    if accelerated.program is None:
        return ServedPolicy(accelerated.policy, sizes)
    return AcceleratedPolicy(accelerated.policy, accelerated.program, sizes)


def serve(connection, make_policy: Callable[[], Any]) -> None:
    """Main function of a policy process: tells its sizes when ready, then answers lists of queries.

    An exception is sent instead of an answer, and ends the process. It also ends when the other
    side closes the connection or dies.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError):
        try:
            policy = make_policy()
            connection.send(policy.sizes)
            while True:
                connection.send(policy.answer(connection.recv()))
        except (EOFError, OSError):
            raise
        except Exception as error:
            connection.send(error)
