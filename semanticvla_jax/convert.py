"""Converts checkpoints: foreign ones into ours, ours into foreign layouts.

    python -m semanticvla_jax.convert --from FORMAT --src PATH --dst DIR \
        --config configs/NAME.py [--config.x=y] [--to orbax|semanticvla|openvla]

Several `--from FORMAT --src PATH` are imported together. `--from orbax` reads a checkpoint of ours
(its configuration is stored in it). DIR is complete or absent, and never overwritten. Training
starts from a converted DIR by `--config.init_from=DIR`. docs/weights.md has a command for each
checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from semanticvla_jax.command_line import given_config, parse
from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.weights import conversion
from semanticvla_jax.weights.export_layouts import LAYOUTS
from semanticvla_jax.weights.formats.registry import FORMATS
from semanticvla_jax.weights.new_folder import new_folder, refuse_existing

OURS = "orbax"

_FROM = flags.DEFINE_multi_string("from", [], f"What is read: {', '.join([OURS, *FORMATS])}.")
_SRC = flags.DEFINE_multi_string("src", [], "Where; one for each --from, in the same order.")
_DST = flags.DEFINE_string("dst", None, "Directory to create.")
_TO = flags.DEFINE_enum("to", OURS, [OURS, *LAYOUTS], "What is written.")
_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration of the model.")
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint of --from orbax; the last by default.")
_MERGE = flags.DEFINE_bool("merge_lora", False, "Fold adapters into the kernels.")
_ACCEPT = flags.DEFINE_bool(
    "accept_differences", False, "Convert although activations, epsilons etc. differ."
)
_SHARD = flags.DEFINE_float("shard_gib", 4.0, "Most GiB of an exported safetensors file.")


def requested() -> list[tuple[str, Path]]:
    """The (format, path) pairs of the command line.

    Raises:
      InputError: not as many --src as --from, a path that does not exist, or ours beside others.
    """
    names, paths = _FROM.value, _SRC.value
    if not names or len(names) != len(paths) or (OURS in names and len(names) > 1):
        raise InputError(
            "--from and --src",
            found=f"--from {names}, --src {paths}",
            expected=f"pairs of a format and a path, or one pair with --from {OURS}",
            fix="give --from FORMAT --src PATH, in this order",
        )
    for path in paths:
        if not Path(path).exists():
            raise InputError("--src", found=path, expected="an existing path", fix="correct it")
    return [(name, Path(path)) for name, path in zip(names, paths, strict=True)]


def main(argv: list[str]) -> None:
    if len(argv) > 1 or not _DST.value:
        raise InputError(
            "command line", found=argv[1:] or "no --dst", expected="--dst DIR", fix="see --help"
        )
    logging.set_verbosity(logging.WARNING)  # Orbax tells every step of a save.
    refuse_existing(_DST.value)
    requests = requested()
    if requests[0][0] == OURS:
        converted = conversion.read_ours(requests[0][1], _STEP.value)
    else:
        config = json.loads(given_config(_CONFIG)[1].to_json())
        converted = conversion.import_foreign(requests, config, accept_differences=_ACCEPT.value)
    if _MERGE.value:
        converted = converted.merged()
    with new_folder(_DST.value) as folder:
        if _TO.value == OURS:
            conversion.write_ours(converted, folder)
        else:
            conversion.write_foreign(converted, _TO.value, folder, _SHARD.value * 2**30)
    print(f"{Path(_DST.value).resolve()} is complete")


@exit_on_input_error
def run() -> None:
    app.run(main, flags_parser=parse)


if __name__ == "__main__":
    run()
