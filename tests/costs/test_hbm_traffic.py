"""What a compiled program reads and writes, by hand and on a program compiled here."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from semanticvla_jax.costs import hbm_traffic, hlo

SLICED = """\
%fused (stack: f32[10,4], i: s32[]) -> f32[1,4] {
  %stack = f32[10,4]{1,0} parameter(0)
  %i = s32[] parameter(1)
  ROOT %row = f32[1,4]{1,0} dynamic-slice(%stack, %i), dynamic_slice_sizes={1,4}
}

%updated (stack.1: f32[10,4], row.1: f32[1,4]) -> f32[10,4] {
  %stack.1 = f32[10,4]{1,0} parameter(0)
  %row.1 = f32[1,4]{1,0} parameter(1)
  ROOT %whole = f32[10,4]{1,0} dynamic-update-slice(%stack.1, %row.1)
}

ENTRY %main (a: f32[10,4], n: s32[]) -> f32[10,4] {
  %a = f32[10,4]{1,0} parameter(0)
  %n = s32[] parameter(1)
  %read = f32[1,4]{1,0} fusion(%a, %n), kind=kLoop, calls=%fused
  %near = f32[1,4]{1,0:T(8,128)S(1)} negate(%read)
  %hidden = f32[1,4]{1,0:T(8,128)S(1)} negate(%near)
  ROOT %fusion.2 = f32[10,4]{1,0} fusion(%a, %hidden), kind=kLoop, calls=%updated
}
"""


def test_slices_and_updates_in_place_count_as_such_and_the_scratchpad_is_free():
    read = 16 + 4 + 16  # a row, its index, the row written
    near = 16  # `read` again; the output stays on the chip
    update = 16  # only the row is written; it came from the chip
    assert hbm_traffic.bytes_moved(hlo.parse(SLICED)) == read + near + update


def test_a_compiled_loop_moves_its_layers_once_each():
    layers, width = 7, 256

    def run(weights, x):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0]

    shapes = jnp.zeros((layers, width, width)), jnp.zeros((width, width))
    module = hlo.parse(jax.jit(run).lower(*shapes).compile().as_text())
    one = 4 * width * width
    moved = hbm_traffic.bytes_moved(module) / one
    # Each pass reads a layer and x and writes x; the compiler adds some copies. Counting the whole
    # stack in each pass would make it twice as much.
    assert 3 * layers <= moved <= 8 * layers
