"""Training input: frames per second and memory, ours against a plain tf.data pipeline.

    python -m benchmarks.data [--frames 100000] [--seconds 30] [--batch_size 32] [--folder DIR]

Two cameras, 256 pixels resized to 224, chunks of 8. Ours is what training reads
(`data.loading`), the other OpenVLA's kind of pipeline (`benchmarks/data_tf.py`), whose shuffle
buffer is filled with `--frames` frames first; ours shuffles as many without a buffer. Augmentation
("crop"; "colour": crop and colours) runs on this CPU in both. A dataset of that many frames is
written first (4.2 GB for 100,000, into --folder or a temporary one; TMPDIR chooses the disk), and
its files are read once before each measurement, so that the disk is not measured. Each measurement
is a process of its own; CPU ms is what all its threads used per frame.

Memory is that of the process and its children at the end of the measurement without augmentation:
RSS all resident pages, PSS with shared ones in part, anonymous those that no file backs. The files
themselves count in none: neither pipeline maps them. Last line: `ratio=X rss_ratio=Y`, ours / tf:
frames per second without colours (the smaller of "none" and "crop"), and RSS. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
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
WARM_UP = 10  # batches


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


def measure(batches: Iterator, seconds: float) -> dict[str, float]:
    """Drives a pipeline as fast as it goes."""
    asked = time.perf_counter()
    next(batches)
    first = time.perf_counter() - asked
    for _ in itertools.islice(batches, WARM_UP):
        pass
    began, used, frames = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < seconds:
        frames += len(next(batches)["images"])
    return {
        "frames_per_second": frames / (time.perf_counter() - began),
        "cpu_ms": 1e3 * (time.process_time() - used) / frames,
        "first_batch": first,
        **memory(),
    }


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


def in_own_process(*arguments: str) -> str:
    """The last line that this command prints with those arguments."""
    command = [sys.executable, "-m", "benchmarks.data", *arguments]
    finished = subprocess.run(
        command, capture_output=True, env=os.environ | QUIET, text=True, check=False
    )
    if finished.returncode:
        raise SystemExit(finished.stderr)
    return finished.stdout.splitlines()[-1]


def compare(version: Path, arguments: argparse.Namespace) -> None:
    found: dict[tuple[str, str], dict[str, float]] = {}
    common = ["--folder", str(version), "--frames", str(arguments.frames)]
    common += ["--seconds", str(arguments.seconds), "--batch_size", str(arguments.batch_size)]
    print("augmentation  pipeline  frames/s  CPU ms  s to first batch", flush=True)
    for augmentation, pipeline in itertools.product(AUGMENTATIONS, PIPELINES):
        for file in version.iterdir():
            file.read_bytes()
        row = json.loads(in_own_process("--measure", pipeline, augmentation, *common))
        found[pipeline, augmentation] = row
        print(
            f"{augmentation:12}  {pipeline:8}  {row['frames_per_second']:8.0f}  "
            f"{row['cpu_ms']:6.2f}  {row['first_batch']:16.1f}",
            flush=True,
        )
    for pipeline in PIPELINES:
        sizes = found[pipeline, "none"]
        figures = ", ".join(f"{name} {sizes[name] / 1e9:.2f}" for name in ("Rss", "Pss"))
        print(f"memory of {pipeline}, GB: {figures}, anonymous {sizes['Anonymous'] / 1e9:.2f}")

    def ratio(entry: str, augmentation: str) -> float:
        return found["ours", augmentation][entry] / found["tf.data", augmentation][entry]

    speeds = {name: ratio("frames_per_second", name) for name in AUGMENTATIONS}
    print("ours / tf.data: " + ", ".join(f"{name} {value:.2f}" for name, value in speeds.items()))
    without = min(speeds["none"], speeds["crop"])
    print(f"ratio={without:.2f} rss_ratio={ratio('Rss', 'none'):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--folder", type=Path, help="keeps the dataset for the next run")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        from benchmarks import data_frames

        print(data_frames.write(arguments.folder, arguments.frames))
    elif arguments.measure:
        pipeline, augmentation = arguments.measure
        batches = PIPELINES[pipeline](
            arguments.folder, augmentation, arguments.frames, arguments.batch_size
        )
        print(json.dumps(measure(batches, arguments.seconds)), flush=True)
        os._exit(0)  # with a full buffer, TensorFlow takes a minute to clean up
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (arguments.folder or Path(temporary)) / str(arguments.frames)
            version = next(folder.glob("*/*/dataset_info.json"), None)
            if version is None:
                frames = str(arguments.frames)
                in_own_process("--write", "--folder", str(folder), "--frames", frames)
                version = next(folder.glob("*/*/dataset_info.json"))
            compare(version.parent, arguments)


if __name__ == "__main__":
    main()
