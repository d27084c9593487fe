"""Training input: frames per second and memory, ours against a plain tf.data pipeline.

    python -m benchmarks.data [--frames 100000] [--seconds 10] [--batch_size 32] [--folder DIR]

Two cameras, 256 pixels resized to 224, chunks of 8. Ours is what training reads
(`data.loading`), the other OpenVLA's kind of pipeline (`benchmarks/data_tf.py`), whose shuffle
buffer is filled with `--frames` frames first; ours shuffles as many without a buffer. Augmentation
("crop"; "colour": crop and colours) runs on this CPU in both. A dataset of that many frames is
written first (4.2 GB for 100,000, into --folder or a temporary one; TMPDIR chooses the disk), and
its files are read once before each comparison, so that the disk is not measured. Each pipeline is
a process of its own. The two take turns, ROUNDS times `--seconds` each, so that both meet the
machine's good and bad moments; while one works the other is stopped (SIGSTOP), so that it can
neither disturb nor work ahead. Frames per second are those of all turns; CPU ms is what all threads
of the process used per frame.

Memory is that of the process and its children at the end of the measurement without augmentation:
RSS all resident pages, PSS with shared ones in part, anonymous those that no file backs. The files
themselves count in none: neither pipeline maps them. Last line: `ratio=X rss_ratio=Y`, ours / tf:
frames per second without colours (the smaller of "none" and "crop"), and RSS. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SIZE = 224
AUGMENTATIONS = ("none", "crop", "colour")
NO_COLOURS = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
OPTIONS = {"none": {"crop_area": 1.0, **NO_COLOURS}, "crop": NO_COLOURS, "colour": {}}
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
WARM_UP_SECONDS = 2
ROUNDS = 4


def ours(version: Path, augmentation: str, frames: int, batch_size: int) -> Iterator:
    from semanticvla_jax.data.loading import open_training_data
    from semanticvla_jax.robots import LIBERO
    from semanticvla_jax.training import host_memory

    host_memory.keep_freed_memory()  # as training does
    config = {"path": str(version), "image_size": SIZE, "threads": os.cpu_count()}
    return iter(open_training_data(config | OPTIONS[augmentation], LIBERO, batch_size, seed=0))


def tf_data(version: Path, augmentation: str, frames: int, batch_size: int) -> Iterator:
    from benchmarks import data_tf

    return data_tf.batches(version, frames, batch_size, SIZE, augmentation)


PIPELINES = {"ours": ours, "tf.data": tf_data}


def answer_turns(batches: Iterator) -> None:
    """Drives a pipeline as fast as it goes, for as many seconds as each line of stdin says.

    Prints one JSON line at the first batch, and one after each turn.
    """
    asked = time.perf_counter()
    next(batches)
    print(json.dumps({"first_batch": time.perf_counter() - asked}), flush=True)
    for line in sys.stdin:
        began, used, frames = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - began < float(line):
            frames += len(next(batches)["images"])
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        print(
            json.dumps({"frames": frames, "seconds": seconds, "cpu": cpu, **memory()}), flush=True
        )


def memory() -> dict[str, float]:
    """Bytes of this process and its children."""
    children = [
        child
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    total = dict.fromkeys(("Rss", "Pss", "Anonymous"), 0)
    for process in ("self", *children):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in total:
                total[name] += int(rest.split()[0]) * 1024
    return total


class Pipeline:
    """One pipeline in a process of its own."""

    def __init__(self, name: str, augmentation: str, arguments: list[str]):
        command = [sys.executable, "-m", "benchmarks.data", "--measure", name, augmentation]
        self._process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | QUIET,
            text=True,
        )
        self.first_batch = self._read()["first_batch"]
        self.turns: list[dict[str, float]] = []
        self.take_turn(WARM_UP_SECONDS)
        self.turns.clear()

    def take_turn(self, seconds: float) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        self.turns.append(self._read())
        self._process.send_signal(signal.SIGSTOP)

    def _read(self) -> dict[str, float]:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a pipeline ended before its time")
        return json.loads(line)

    def close(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.close()
        self._process.wait()

    def total(self, entry: str) -> float:
        """Of all turns."""
        return sum(turn[entry] for turn in self.turns)

    @property
    def speed(self) -> float:
        """Frames per second."""
        return self.total("frames") / self.total("seconds")

    def __str__(self) -> str:
        cpu = 1e3 * self.total("cpu") / self.total("frames")
        return f"{self.speed:8.0f}  {cpu:6.2f}  {self.first_batch:16.1f}"


def side_by_side(version: Path, augmentation: str, arguments: argparse.Namespace) -> list[Pipeline]:
    """Both pipelines, in the order of PIPELINES, after their turns."""
    for file in version.iterdir():
        file.read_bytes()
    common = ["--folder", str(version), "--frames", str(arguments.frames)]
    common += ["--batch_size", str(arguments.batch_size)]
    pipelines = [Pipeline(name, augmentation, common) for name in PIPELINES]
    for _ in range(ROUNDS):
        for pipeline in pipelines:
            pipeline.take_turn(arguments.seconds)
    for pipeline, name in zip(pipelines, PIPELINES, strict=True):
        pipeline.close()
        print(f"{augmentation:12}  {name:8}  {pipeline}", flush=True)
    return pipelines


def compare(version: Path, arguments: argparse.Namespace) -> None:
    print("augmentation  pipeline  frames/s  CPU ms  s to first batch", flush=True)
    found = {name: side_by_side(version, name, arguments) for name in AUGMENTATIONS}
    memories = [pipeline.turns[-1] for pipeline in found["none"]]
    for name, sizes in zip(PIPELINES, memories, strict=True):
        figures = ", ".join(f"{kind} {sizes[kind] / 1e9:.2f}" for kind in ("Rss", "Pss"))
        print(f"memory of {name}, GB: {figures}, anonymous {sizes['Anonymous'] / 1e9:.2f}")
    speeds = {name: ours.speed / theirs.speed for name, (ours, theirs) in found.items()}
    print("ours / tf.data: " + ", ".join(f"{name} {value:.2f}" for name, value in speeds.items()))
    without, rss = min(speeds["none"], speeds["crop"]), memories[0]["Rss"] / memories[1]["Rss"]
    print(f"ratio={without:.2f} rss_ratio={rss:.3f}")


def write(folder: Path, frames: int) -> None:
    """By a process of its own, because it imports TensorFlow."""
    command = [sys.executable, "-m", "benchmarks.data", "--write", "--folder", str(folder)]
    subprocess.run(
        [*command, "--frames", str(frames)],
        env=os.environ | QUIET,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10, help="of a turn")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--folder", type=Path, help="keeps the dataset for the next run")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        from benchmarks import data_frames

        data_frames.write(arguments.folder, arguments.frames)
    elif arguments.measure:
        pipeline, augmentation = arguments.measure
        batches = PIPELINES[pipeline](
            arguments.folder, augmentation, arguments.frames, arguments.batch_size
        )
        answer_turns(batches)
        os._exit(0)  # with a full buffer, TensorFlow takes a minute to clean up
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (arguments.folder or Path(temporary)) / str(arguments.frames)
            version = next(folder.glob("*/*/dataset_info.json"), None)
            if version is None:
                write(folder, arguments.frames)
                version = next(folder.glob("*/*/dataset_info.json"))
            compare(version.parent, arguments)


if __name__ == "__main__":
    main()
