"""The training step of a configuration here, beside a plain PyTorch/PEFT one of the same shapes.

    python -m benchmarks.training_step --config configs/semanticvla_libero.py --batch 16 \\
        [--steps 20] [--set model.siglip.remat=true] [--torch PYTHON]

Random weights and synthetic batches; no dataset, no vocabulary. Each implementation runs in a
process of its own, one after the other. FLOPs are those of the model's products forward and of the
gradients that training needs, counted by tracing; recomputation does not count, and both are
credited with the same. MFU is against the chip's nominal peak if it is known (costs/chips.py), and
against the best matrix product measured in the same run. `--torch` names a Python that has torch,
timm, transformers and peft. Last line: `mfu=... samples_per_second=... [ratio=...]`, the ratio
being that of samples/s, ours / PyTorch's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.training_step import settings
from semanticvla_jax.costs.chips import CHIPS
from semanticvla_jax.errors import InputError, exit_on_input_error


def run(command: list[str]) -> dict[str, Any]:
    """The JSON object that a measuring process prints last."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(
            "measurement",
            found=f"`{' '.join(command)}` ended with exit status {done.returncode}",
            expected="a timed step",
            fix="see its message above; a smaller --batch or remat needs less memory",
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def nominal_peak(device: str) -> float | None:
    """FLOP/s of the chips that a device description names; None for unknown ones."""
    count, _, kind = device.partition(" x ")
    kind = kind.lower().replace(" ", "").replace("lite", "e")
    found = [chip.peak for name, chip in CHIPS.items() if name in kind]
    return int(count) * found[0] if found else None


def line(name: str, measured: dict[str, Any], batch: int, flops: int, ceilings: dict) -> str:
    seconds = sorted(measured["seconds"])
    median = statistics.median(seconds)
    memory = measured["peak_bytes"]
    shares = "  ".join(f"{flops / median / rate:6.1%} of {n}" for n, rate in ceilings.items())
    return (
        f"{name:14} {1e3 * median:9.1f} ms ({1e3 * seconds[0]:.1f} to {1e3 * seconds[-1]:.1f})  "
        f"{batch / median:8.2f} samples/s  {measured['trained'] / 1e6:8.1f} M trained  "
        f"{f'{memory / 1e9:6.1f} GB' if memory else '       -'}  {shares}"
    )


@exit_on_input_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/semanticvla_libero.py")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON")
    parser.add_argument("--torch", metavar="PYTHON")
    arguments = parser.parse_args(argv)
    changes = {
        key: json.loads(value) for key, value in (pair.split("=", 1) for pair in arguments.set)
    }
    config = settings.load(arguments.config, arguments.batch, changes)
    with tempfile.TemporaryDirectory() as folder:
        told, sizes = Path(folder, "told.json"), Path(folder, "sizes.json")
        settings.write(
            told,
            config=arguments.config,
            batch=arguments.batch,
            changes=changes,
            steps=arguments.steps,
        )
        ours = run([sys.executable, "-m", "benchmarks.training_step.ours", str(told)])
        theirs = None
        if arguments.torch:
            sizes.write_text(json.dumps(settings.sizes(config)))
            counts = ["--batch", str(arguments.batch), "--steps", str(arguments.steps)]
            module = ["-m", "benchmarks.training_step.torch_peft"]
            theirs = run([arguments.torch, *module, "--sizes", str(sizes), *counts])
    show(arguments.batch, ours, theirs)


def show(batch: int, ours: dict[str, Any], theirs: dict[str, Any] | None) -> None:
    peak = nominal_peak(ours["device"])
    ceilings = {"nominal peak": peak} if peak else {}
    ceilings["measured product"] = ours["product_rate"]
    print(
        f"{ours['device']}; {ours['flops'] / 1e12:.2f} TFLOP per step of {batch}; best product "
        f"{ours['product_rate'] / 1e12:.1f} TFLOP/s; compiled in {ours['compile_seconds']:.0f} s; "
        f"loss {ours['loss']:.3f}"
    )
    print(line("JAX", ours, batch, ours["flops"], ceilings))
    median = statistics.median(ours["seconds"])
    last = [
        f"mfu={ours['flops'] / median / next(iter(ceilings.values())):.3f}",
        f"samples_per_second={batch / median:.2f}",
    ]
    if theirs:
        print(
            line(
                f"PyTorch {theirs['versions']['torch']}"[:14],
                theirs,
                batch,
                ours["flops"],
                ceilings,
            )
        )
        last.append(f"ratio={statistics.median(theirs['seconds']) / median:.2f}")
    print(*last)


if __name__ == "__main__":
    main()
