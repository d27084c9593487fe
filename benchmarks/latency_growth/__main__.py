"""How the time of a query grows with image tokens, cameras, chunk length and batch.

    python -m benchmarks.latency_growth --config configs/semanticvla_libero.py:small
        [--precision float32] [--calls 30] [--batches 1,2,4,8,16,32,64] [--picture FILE.png]

A query goes from prepared images on the host to actions on the host, with random weights and a
sentence that is known. Each of `--ratios` (patches per image token), `--cameras`, `--chunks` and
`--batches` is varied by itself; an empty list leaves it out. The roofline is of copy and product
rates measured first. Last line: for each, the time of the largest value over that of the smallest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax

from benchmarks import ceilings, configurations, random_policy, roofline
from benchmarks.latency_growth import shown
from benchmarks.latency_growth.measure import measure
from benchmarks.latency_growth.points import points
from semanticvla_jax.errors import exit_on_input_error
from semanticvla_jax.models import abstract

VALUES = {
    "ratios": "4,8,16,32",
    "cameras": "1,2,3,4",
    "chunks": "1,4,8,16,32",
    "batches": "1,2,4,8,16,32,64",
}


@exit_on_input_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/semanticvla_libero.py:small")
    parser.add_argument("--precision", default="float32", help="float32 or bfloat16")
    parser.add_argument("--calls", type=int, default=30, help="of each point")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    for axis, values in VALUES.items():
        parser.add_argument(f"--{axis}", default=values)
    arguments = parser.parse_args(argv)
    config = configurations.load(arguments.config)
    model = random_policy.at_precision(abstract.complete(config), arguments.precision)
    values = {axis: getattr(arguments, axis) for axis in VALUES}
    values = {axis: [int(v) for v in given.split(",") if v] for axis, given in values.items()}
    rates = ceilings.copy_rate(), ceilings.product_rate(arguments.precision)
    device = jax.devices()[0].device_kind
    title = f"{arguments.config}, {arguments.precision}, {device}"
    print(f"{title}: copy {rates[0] / 1e9:,.1f} GB/s, product {rates[1] / 1e12:,.3f} TFLOP/s")
    measured = []
    for point in points(config, model, values):
        measured.append(measure(point, roofline.machine(*rates), arguments.calls))
        print(f"{point.axis}={point.value}: {1e3 * measured[-1].median:.2f} ms", flush=True)
    print(f"\n{shown.table(measured)}")
    if arguments.picture:
        shown.save_picture(measured, title, arguments.picture)
    print(shown.last_line(measured))


if __name__ == "__main__":
    main()
