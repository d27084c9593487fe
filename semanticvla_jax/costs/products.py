"""Matrix products and convolutions of a traced function, read from its jaxpr; nothing is run.

One multiply-add is two FLOPs. Element-wise work and reductions are not counted, as usual.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from semanticvla_jax.errors import InputError

# Primitives that hide products from a walk over jaxprs, by the start of their names.
OPAQUE = ("pallas_call", "ffi_call", "custom_call", "ragged_dot", "dot_product_attention")


@dataclass(frozen=True)
class Product:
    """One product of the program, with everything a loop repeats.

    Attributes:
      module: path of the module it belongs to, 'llm/layers/LlamaLayer/mlp/up_proj'.
      flops: of all repetitions together.
      rows: rows of the left operand, one repetition; batch axes do not count.
      weight_bytes: read from memory by all repetitions together; 0 between activations.
      weights: a product with weights (no batch axes) rather than between activations, as in
        attention.
    """

    module: str
    flops: int
    rows: int
    weight_bytes: int
    weights: bool

    def times(self, repeats: int) -> Product:
        return replace(self, flops=self.flops * repeats, weight_bytes=self.weight_bytes * repeats)


@dataclass(frozen=True)
class Loop:
    """A loop that ends when its data say so, and the number of passes it was counted with."""

    module: str
    passes: int


@dataclass(frozen=True)
class Trace:
    """Of a function: its products in program order, its open loops, its outputs' shapes."""

    products: list[Product]
    loops: list[Loop]
    shapes: Any


def trace(function: Callable, *arguments: Any, trips: int | None = None) -> Trace:
    """Traces `function(*arguments)`.

    Args:
      arguments: arrays or jax.ShapeDtypeStructs, in any pytree.
      trips: passes of loops that end when their data say so; None = the most that the loop's
        condition allows, where that is a constant.

    Raises:
      InputError: a loop without a bound, or an operation that hides its products.
    """
    jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    loops: list[Loop] = []
    return Trace(list(_walk(jaxpr.jaxpr, "", trips, loops)), loops, shapes)


def total(products: Iterable[Product]) -> int:
    """FLOPs of them all."""
    return sum(product.flops for product in products)


def _walk(jaxpr: Jaxpr, outer: str, trips: int | None, loops: list[Loop]) -> Iterator[Product]:
    for equation in jaxpr.eqns:
        scope = f"{outer}/{equation.source_info.name_stack}"
        name = equation.primitive.name
        if name in COUNTED:
            yield COUNTED[name](equation, _module(scope))
        elif name.startswith(OPAQUE):
            raise InputError(
                f"counting {_module(scope) or 'the model'}",
                found=f"the operation '{name}'",
                expected="plain matrix products, which can be counted",
                fix="count the configuration with the plain implementation of this part",
            )
        else:
            bodies = [list(_walk(body, scope, trips, loops)) for body in _bodies(equation)]
            if any(bodies):
                yield from _called(equation, bodies, _module(scope), trips, loops)


def _called(equation, bodies, module: str, trips, loops: list[Loop]) -> Iterator[Product]:
    """Products of the functions an equation calls, as often as it calls them."""
    repeats = 1
    if equation.primitive.name == "cond":
        bodies = [max(bodies, key=total)]
    elif equation.primitive.name == "scan":
        repeats = equation.params["length"]
    elif equation.primitive.name == "while":
        repeats = _passes(equation, module, trips)
        loops.append(Loop(module, repeats))
    for body in bodies:
        yield from (product.times(repeats) for product in body)


def _bodies(equation) -> Iterator[Jaxpr]:
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item


def _passes(equation, module: str, trips: int | None) -> int:
    passes = trips or _bound(equation.params["cond_jaxpr"].jaxpr)
    if passes is None:
        raise InputError(
            f"loop in {module or 'the model'}",
            found="no constant bound on its passes",
            expected="a number of passes to count",
            fix="say how many with --loop_trips",
        )
    return passes


def _bound(condition: Jaxpr) -> int | None:
    """The constant that a loop's counter is compared with: `i < 7` -> 7."""
    for equation in condition.eqns:
        right = equation.invars[-1]
        if equation.primitive.name == "lt" and isinstance(right, Literal):
            return int(right.val)
    return None


def _matrix_product(equation, module: str) -> Product:
    left, right = (operand.aval for operand in equation.invars)
    (contracted, _), (batch, _) = equation.params["dimension_numbers"]
    inner = math.prod(left.shape[axis] for axis in contracted)
    rows = left.size // inner // math.prod(left.shape[axis] for axis in batch)
    size = 0 if batch else right.size * right.dtype.itemsize
    return Product(module, 2 * equation.outvars[0].aval.size * inner, rows, size, not batch)


def _convolution(equation, module: str) -> Product:
    kernel, out = equation.invars[1].aval, equation.outvars[0].aval
    channels = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
    return Product(
        module,
        2 * out.size * (kernel.size // channels),
        out.size // channels,
        kernel.size * kernel.dtype.itemsize,
        weights=True,
    )


COUNTED = {"dot_general": _matrix_product, "conv_general_dilated": _convolution}


def _module(scope: str) -> str:
    """Name scopes -> module path.

    'Model/Model.encode/vmap(dino.run)/blocks_0/attn/bhqd,bhkd->bhqk' -> 'dino/blocks_0/attn':
    without transformations, methods, einsum's labels, the outermost module and repetitions.
    """
    path: list[str] = []
    for element in re.sub(r"\w+\(|\)", "", scope).split("/"):
        element = element.partition(".")[0]
        if element and "->" not in element and element != (path[-1] if path else ""):
            path.append(element)
    return "/".join(path[1:])
