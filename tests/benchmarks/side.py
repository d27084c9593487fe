"""A side of the latency benchmark that computes nothing: `python -m tests.benchmarks.side`."""

from __future__ import annotations

import sys

from benchmarks.latency import inputs, worker


class Idle:
    def __init__(self, offset: int):
        print("libraries print to standard output")
        self.offset, self.seen = offset, []
        self.about = {"version": "idle", "device": "none", "failed": {}}
        self.calls = {"note": self.note, "end": lambda seen: sys.exit(3)}

    def note(self, seen: inputs.Observation) -> None:
        self.seen.append(int(seen.state[0]))

    def draw(self, index: int) -> inputs.Observation:
        return inputs.Observation(None, [index])

    def stages(self):
        return {"nothing": lambda: None}

    def ceilings(self):
        return {"copy": self.offset + len(self.seen), "product": self.seen[-1]}


if __name__ == "__main__":
    worker.serve(Idle)
