"""`semanticvla_jax.serve` with a policy that needs no model, for tests of signals.

python -m tests.serving.serve_fake PORT SECONDS_PER_BATCH
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from semanticvla_jax.serve import serve
from semanticvla_jax.serving.options import ServerOptions
from tests.serving.running import FakePolicy

numbers = itertools.count(1)


def load() -> FakePolicy:
    return FakePolicy(label=f"run@{next(numbers)}", seconds=float(sys.argv[2]))


if __name__ == "__main__":
    options = ServerOptions(port=int(sys.argv[1]), batch_sizes=(1,), rate=1e6)
    sys.exit(not asyncio.run(serve(load, options)))
