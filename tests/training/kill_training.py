"""Kills training at random moments and checks that what is finished afterwards is the same.

    python -m tests.training.kill_training --kills 20 --seed 0

One run is left alone. Each of the others is killed (SIGKILL) once, at a moment drawn evenly from
the time between its first step and its end, and started again. Its parameters, optimizer state,
averages, data position and metrics must then equal the first run's, bit for bit. Checkpoints are
written every second step, so that many kills fall while one is being written. The last line counts.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from semanticvla_jax.training.metrics import read_metrics
from tests.data.tfds_writer import write_dataset
from tests.training import processes
from tests.training.comparison import assert_same_run

SETTINGS = dict(total_steps=20, checkpoint_every=2, keep_checkpoints=2, ema_decay=0.9)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), random.Random(given.seed))
        verdicts = [trials.kill_one(number) for number in range(1, given.kills + 1)]
    saving, equal = (sum(column) for column in zip(*verdicts, strict=True))
    print(f"while saving: {saving}")
    print(f"kills={given.kills} equal={equal}")
    return 0 if equal == given.kills else 1


class Trials:
    """Runs in one folder, with one dataset, beside the one that is left alone."""

    def __init__(self, folder: Path, chance: random.Random):
        self._folder, self._chance = folder, chance
        self._dataset = write_dataset(folder / "data")
        self._whole = folder / "whole"
        processes.run(self._dataset, folder / "compiled", **self._options())
        with self._started(self._whole) as process:
            began = self._wait_for_first_step(process, self._whole)
            processes.output(process)
            self._seconds = time.monotonic() - began
        print(f"uninterrupted: {self._seconds:.1f} s from the first step to the end", flush=True)

    def kill_one(self, number: int) -> tuple[bool, bool]:
        """(whether it was saving when it was killed, whether the outcome is the same)."""
        workdir = self._folder / f"killed_{number}"
        moment, step, saving = self._killed(workdir)
        processes.run(self._dataset, workdir, **self._options())
        try:
            assert_same_run(self._whole, workdir, SETTINGS["total_steps"])
            equal, verdict = True, "equal"
        except AssertionError as error:
            equal, verdict = False, f"DIFFERENT: {error}"
        doing = f"while saving step {saving}" if saving else "while not saving"
        print(f"kill {number}: {moment:5.2f} s, after step {step}, {doing}: {verdict}", flush=True)
        return bool(saving), equal

    def _killed(self, workdir: Path) -> tuple[float, int, str]:
        """(moment, last step logged, steps that were being saved) of a run that was killed."""
        with self._started(workdir) as process:
            began = self._wait_for_first_step(process, workdir)
            moment = self._chance.uniform(0, self._seconds)
            time.sleep(max(0.0, began + moment - time.monotonic()))
            alive = process.poll() is None
            process.kill()
            process.wait()
        if not alive:  # it was quicker than the first one
            for path in sorted(workdir.rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
            return self._killed(workdir)
        unfinished = (workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*")
        saving = sorted({path.name.split(".")[0] for path in unfinished}, key=int)
        return moment, read_metrics(workdir / "metrics.jsonl")[-1]["step"], ", ".join(saving)

    def _started(self, workdir: Path):
        return processes.started(self._dataset, workdir, **self._options())

    def _options(self) -> dict:
        return dict(variables=processes.compiling_once(self._folder / "cache"), **SETTINGS)

    def _wait_for_first_step(self, process, workdir: Path) -> float:
        metrics = workdir / "metrics.jsonl"
        while not (metrics.exists() and metrics.read_bytes()):
            assert process.poll() is None, processes.output(process)
            time.sleep(0.005)
        return time.monotonic()


if __name__ == "__main__":
    sys.exit(main())
