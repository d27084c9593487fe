"""A model as programs compiled ahead of time, one call per query."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from semanticvla_jax.inference.batches import fitting
from semanticvla_jax.inference.lines import Lines
from semanticvla_jax.inference.pixels import Pixels
from semanticvla_jax.inference.sentences import Sentences

Row = Mapping[str, np.ndarray]


class CompiledModel:
    """Rows in, normalised actions out, at static shapes: batch size x room for the prompt.

    Each program takes one array of bytes (images, state, slot of the sentence) and gives one array
    of actions. What depends on the sentence alone is computed when a sentence is new.

    A row's answer depends on its own contents, on the batch's size and on the prompt's room, not on
    the other rows.

    Attributes:
      pixels: how camera images get in.
      prompt_lengths: rooms for prompts that there are programs for, ascending, in tokens.
    """

    def __init__(
        self,
        model: Any,
        params: Any,
        pixels: Pixels,
        example: Row,
        *,
        prompt_lengths: Sequence[int] = (),
        sentences: int = 64,
        compiler: Compiler | None = None,
    ):
        """Compiles what a new sentence takes; `compile` does the rest.

        Args:
          model: SemanticVLA, without adapters.
          params: its parameters, on the device.
          pixels: how camera images get in.
          example: a row as `Interface.prepare` makes it.
          prompt_lengths: rooms for shorter prompts than the example's, which is always there.
          sentences: that are kept on the device.
          compiler: where programs run; one device by default.
        """
        self._compiler = compiler or Compiler()
        params = self._compiler.place(params)
        self._model, self._params, self.pixels = model, params, pixels
        longest = len(example["prompt_mask"])
        shorter = {length for length in prompt_lengths if 0 < length < longest}
        self.prompt_lengths = (*sorted(shorter), longest)
        self._lines = Lines(
            {
                **pixels.fields,
                "state": (example["state"].shape, np.float32),
                "slot": ((), np.int32),
            }
        )
        self._sentences = Sentences(
            lambda params, batch: model.apply({"params": params}, batch, method="understand"),
            params,
            example,
            sentences,
            self._compiler,
        )
        self._programs: dict[tuple[int, int], Any] = {}
        self._lock = threading.Lock()

    def compile(self, sizes: Sequence[int]) -> int:
        """Compiles every prompt length for these batch sizes; how many programs there are now."""
        with self._lock:
            for size in sizes:
                for prompt in self.prompt_lengths:
                    self._program(size, prompt)
        return len(self._programs)

    def room(self, row: Row) -> int:
        """The prompt length whose programs take this row, alone or with shorter ones."""
        return fitting(self.prompt_lengths, int(np.count_nonzero(row["prompt_mask"])))

    def __call__(self, rows: Sequence[Row]) -> np.ndarray:
        """B rows -> f32[B, K, A] normalised; compiles first if B is new. From any thread.

        Raises:
          InputError: more sentences than there is room for.
        """
        prompt = max(map(self.room, rows))
        admitted = [self.pixels.admit(row) for row in rows]
        with self._lock:
            program = self._program(len(rows), prompt)
            slots = self._sentences.slots(rows)
            lines = self._lines.pack(
                [{**row, "slot": slot} for row, slot in zip(admitted, slots, strict=True)]
            )
            actions = program(self._sentences.table, lines)
        return np.asarray(actions)

    def _program(self, size: int, prompt: int) -> Any:
        if (size, prompt) not in self._programs:
            lines = np.zeros((size, self._lines.bytes), np.uint8)
            act = functools.partial(self._act, prompt=prompt)
            arguments = self._params, self._sentences.table, lines
            self._programs[size, prompt] = self._compiler.compile(act, *arguments)
        return self._programs[size, prompt]

    def _act(self, params, table, lines: jax.Array, *, prompt: int) -> jax.Array:
        given = self._lines.unpack(lines)
        instruction = jax.tree.map(lambda leaf: leaf[given["slot"]], table)
        batch = {"images": self.pixels.images(given), "state": given["state"]}
        return self._model.apply(
            {"params": params}, instruction.shortened(prompt), batch, method="act"
        )[0]


class Compiler:
    """Ahead of time, for one device."""

    def __init__(
        self, options: Mapping[str, Any] | None = None, whole: jax.sharding.Sharding | None = None
    ):
        """Nothing is compiled yet.

        Args:
          options: of XLA's compiler.
          whole: where arrays lie that are not split; the first device by default.
        """
        self._options = dict(options or {}) or None
        self._whole = whole or SingleDeviceSharding(jax.devices()[0])

    def place(self, params: Any) -> Any:
        """Parameters to where programs want them."""
        return jax.device_put(params, self._whole)

    def placed_shapes(self, shapes: Any) -> Any:
        """jax.ShapeDtypeStructs of parameters, saying where they belong."""
        return shapes

    def zeros(self, shapes: Any) -> Any:
        """Arrays of these shapes and types, laid out as programs return them."""

        def make() -> Any:
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        return jax.jit(make, out_shardings=self._whole)()

    def compile(
        self, function: Callable[..., Any], params: Any, *arguments: Any, donate: int = 0
    ) -> Callable[..., Any]:
        """function(params, *arguments) as a program of other arguments of these shapes.

        Arrays among the arguments must come from `zeros` or a program: others compile it again.

        Args:
          donate: number of arguments, from the first on, whose memory the result may take.
        """
        leaves, tree = jax.tree.flatten(params)

        def flat(leaves, *arguments):
            return function(jax.tree.unflatten(tree, leaves), *arguments)

        program = jax.jit(
            flat,
            donate_argnums=tuple(range(1, 1 + donate)),
            compiler_options=self._options,
            **self._shardings(leaves, len(arguments)),
        )
        program.lower(leaves, *arguments).compile()
        # jit's own call finds what was compiled. The compiled object's call refuses int4 on a CPU:
        # it compares layouts, and the one that XLA writes for four bits is not the array's.
        return functools.partial(program, leaves)  # flat: a tree takes time at every call

    def _shardings(self, leaves: Sequence[jax.Array], arguments: int) -> dict[str, Any]:
        """Options of jax.jit."""
        return {}
