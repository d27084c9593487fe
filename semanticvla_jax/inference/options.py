"""What becomes of a loaded model before it is compiled."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from semanticvla_jax.errors import InputError


@dataclass(frozen=True)
class InferenceOptions:
    """How a model is run; the defaults change no action by more than rounding.

    Attributes:
      dtype: of the computation, in numerics.DTYPES; "": as the configuration says.
      precision: of the weights, in quantization.PRECISIONS; "": as computed.
      mesh: "tensor=N" splits the model over N devices of this machine; "": one device.
      fuse: one product for q, k, v and one for gate, up, but not on a mesh.
      prompt_lengths: rooms for prompts shorter than the longest, in tokens.
      compilation_cache: folder in which compiled programs are kept; "": nowhere.
    """

    dtype: str = ""
    precision: str = ""
    mesh: str = ""
    fuse: bool = True
    prompt_lengths: tuple[int, ...] = (40,)  # LIBERO's have 22 to 38
    compilation_cache: str = ""

    @property
    def changes(self) -> dict[str, str]:
        """Those that change actions by more than rounding's last bits."""
        named = {"dtype": self.dtype, "precision": self.precision}
        return {name: value for name, value in named.items() if value}


DEFAULTS = InferenceOptions()


def add_arguments(add: Callable[..., Any]) -> None:
    """The options of a command line; `add` is a parser's or a group's add_argument."""
    add("--dtype", default="", help="of the computation: float32, bfloat16; default: as trained")
    add("--precision", default="", help="of the weights: int8, int4, w8a8; default: as computed")
    add("--mesh", default="", help="tensor=N splits the model over N devices")
    add(
        "--prompt_lengths",
        default=",".join(map(str, DEFAULTS.prompt_lengths)),
        help="prompts are computed with room for so many tokens, or for the longest",
    )
    add("--compilation_cache", default="", help="folder that keeps compiled programs for restarts")


def read_arguments(arguments: argparse.Namespace) -> InferenceOptions:
    """Of `add_arguments`; JAX is not imported.

    Raises:
      InputError: --prompt_lengths are no numbers.
    """
    words = [word.strip() for word in arguments.prompt_lengths.split(",") if word.strip()]
    if not all(word.isdecimal() for word in words):
        raise InputError(
            "--prompt_lengths",
            found=arguments.prompt_lengths,
            expected="numbers of tokens, separated by commas",
            fix="for example --prompt_lengths 24,32,40",
        )
    return InferenceOptions(
        dtype=arguments.dtype,
        precision=arguments.precision,
        mesh=arguments.mesh,
        prompt_lengths=tuple(map(int, words)),
        compilation_cache=arguments.compilation_cache,
    )


def optimised(model: Any, params: dict, options: InferenceOptions) -> tuple[Any, dict]:
    """A model without adapters, and its parameters, as `options` want them.

    On a mesh the decoder stays unfused: columns q | k | v side by side do not split by heads.

    Raises:
      InputError: an unknown precision.
    """
    from semanticvla_jax.inference import fused, numerics

    params = numerics.stored_as_computed(model, params)
    rearrange = fused.fuse if options.fuse and not options.mesh else fused.unstack
    model, params = rearrange(model, params)
    if not options.precision:
        return model, params
    from semanticvla_jax.inference.quantization import quantize

    return quantize(model, params, options.precision)
