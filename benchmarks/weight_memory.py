"""Host memory that importing a checkpoint takes beside the finished parameters.

    python -m benchmarks.weight_memory [--gigabytes 3] [--shards 4]

Writes random weights in OpenVLA's layout, with full widths and fewer layers, to a temporary folder
(TMPDIR chooses the disk), and imports them in two ways, each in a process of its own: streamed, and
read as a whole before conversion. Memory is the process's high-water mark of resident memory
(VmHWM), so files mapped into memory would count. Staging is what it holds beyond the parameters
finished so far, which are on JAX's CPU device and so resident too, and beyond what it held before
reading; the mark is set back after each parameter, and the largest of these counts.
Last line: `staging_ratio=X`, streamed staging / largest shard. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from semanticvla_jax.models import abstract, build, presets
from semanticvla_jax.robots import find_robot
from semanticvla_jax.training.sharding import make_mesh, parameter_shardings
from semanticvla_jax.weights import authors, importing, rules
from semanticvla_jax.weights.derived import Derived
from semanticvla_jax.weights.export import export
from semanticvla_jax.weights.formats.openvla import OPENVLA
from semanticvla_jax.weights.writing import write_safetensors

GIGA = 1e9
TOWER_BLOCKS = 4
LAYER_BYTES = 2 * (4 * 4096**2 + 3 * 4096 * 11008)  # of one decoder layer in bfloat16
OTHER_BYTES = 0.9e9  # embeddings, vocabulary head, projector, shortened towers


def smaller_model(layers: int):
    """The 7B model with fewer layers, and the shapes of its parameters."""
    config = presets.semanticvla_7b_libero()
    config["llm"]["depth"] = layers
    config["siglip"]["depth"] = config["dino"]["depth"] = TOWER_BLOCKS
    config["fuser"]["dense_fuser"]["pairs"] = ((0, 0),)
    config["lora"] = None
    model = build.build(config)
    batch = abstract.abstract_batch(config, find_robot("libero"), 1)
    return model, abstract.init(model, batch)


def write_checkpoint(folder: Path, layers: int, shards: int) -> None:
    """Random bfloat16 weights of everything that an OpenVLA checkpoint has."""
    model, shapes = smaller_model(layers)
    blanks = {
        name: np.broadcast_to(np.zeros((), jnp.bfloat16), leaf.shape)
        for name, leaf in flatten_dict(shapes, sep="/").items()
        if any(re.fullmatch(pattern, name) for pattern in OPENVLA.fills)
    }
    named = export(unflatten_dict(blanks, sep="/"), authors.openvla(lm_head=True))
    generator = np.random.default_rng(0)

    def random(shape: tuple[int, ...]) -> np.ndarray:
        bits = generator.integers(0, 1 << 16, shape, np.uint16)
        bits &= 0x807F  # sign and mantissa
        bits |= 0x3F00  # of numbers from 0.5 to 1
        return bits.view(jnp.bfloat16)

    arrays = {
        name: Derived(blank.shape, blank.dtype, lambda shape=blank.shape: random(shape))
        for name, blank in named.items()
    }
    size = sum(array.nbytes for array in arrays.values())
    write_safetensors(folder, "model", arrays, shard_bytes=size / shards * 1.05)


class Watch:
    """Progress callback that follows this process's resident memory, in bytes."""

    def __init__(self):
        self.before = self._status("VmRSS")
        self.finished = self.peak = self.staging = 0

    def __call__(self, name: str, size: int) -> None:
        """One more parameter of `size` bytes is finished."""
        self.finished += size
        high = self._status("VmHWM")
        self.peak = max(self.peak, high)
        self.staging = max(self.staging, high - self.before - self.finished)
        Path("/proc/self/clear_refs").write_text("5")  # Sets VmHWM back to VmRSS.

    def _status(self, kind: str) -> int:
        found = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024


def streamed(opened, shapes, shardings, progress) -> dict:
    return importing.load(opened, shapes, shardings, progress)[0]


def read_whole(opened, shapes, shardings, progress) -> dict:
    """What one writes first: read everything, convert it, put it on the device."""
    arrays = {name: np.asarray(array) for name, array in opened.arrays.items()}
    params, _ = rules.convert(arrays, opened.rules, shapes, fresh=[".*"])
    del arrays
    placed = {}
    params, shardings = flatten_dict(params, sep="/"), flatten_dict(shardings, sep="/")
    for name in list(params):
        placed[name] = jax.block_until_ready(jax.device_put(params.pop(name), shardings[name]))
        progress(name, placed[name].nbytes)
    return placed


WAYS = {"streamed": streamed, "read as a whole": read_whole}


def measure(way: str, folder: Path, layers: int) -> dict[str, int]:
    """Bytes: parameters when finished, resident before reading, most resident, most staging."""
    model, shapes = smaller_model(layers)
    shardings = parameter_shardings(shapes, make_mesh())
    opened = importing.open_checkpoints([("openvla", folder)], model)
    jnp.zeros(()).block_until_ready()
    watch = Watch()
    params = WAYS[way](opened, shapes, shardings, watch)
    assert watch.finished == sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    return vars(watch)


def in_own_process(way: str, folder: Path, layers: int) -> dict[str, int]:
    command = [sys.executable, "-m", "benchmarks.weight_memory", "--measure", way]
    command += ["--folder", str(folder), "--layers", str(layers)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    return json.loads(printed.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--shards", type=int, default=4)
    for hidden in ("--measure", "--folder", "--layers"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        figures = measure(arguments.measure, Path(arguments.folder), int(arguments.layers))
        print(json.dumps(figures))
        return
    layers = max(1, round((arguments.gigabytes * GIGA - OTHER_BYTES) / LAYER_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), layers, arguments.shards)
        sizes = [path.stat().st_size for path in Path(folder).glob("*.safetensors")]
        largest = max(sizes)
        print(f"source {sum(sizes) / GIGA:.2f} GB in {len(sizes)} shards, {layers} decoder layers")
        print(f"largest shard {largest / GIGA:.2f} GB")
        ratios = {}
        for way in WAYS:
            found = in_own_process(way, Path(folder), layers)
            ratios[way] = found["staging"] / largest
            print(
                f"{way}: peak {found['peak'] / GIGA:.2f} GB, of it before reading "
                f"{found['before'] / GIGA:.2f}, parameters {found['finished'] / GIGA:.2f}; most "
                f"staging {found['staging'] / GIGA:.2f}, {ratios[way]:.2f} of the largest shard",
                flush=True,
            )
    print(f"staging_ratio={ratios['streamed']:.2f}")


if __name__ == "__main__":
    main()
