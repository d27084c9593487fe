"""The authors' weights in our modules, through the product's import rules alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.weights import rules
from semanticvla_jax.weights.rules import Rule


def our_shapes(weights: Mapping[str, np.ndarray], rule_list: Sequence[Rule]) -> dict[str, tuple]:
    """Our name -> shape (of one part, where several are joined) of what the weights become."""
    located = [(rules.locate(name, rule_list), array) for name, array in weights.items()]
    return {place[0]: place[1].layout(array).shape for place, array in located if place}


class Imported:
    """Weights of a case as parameters of a module: `params`, nested, in the module's own dtypes."""

    def __init__(
        self,
        weights: Mapping[str, np.ndarray],
        rule_list: Sequence[Rule],
        module: nn.Module,
        run: Callable,
        *args: Any,
    ):
        """Takes the parameters that `run(module, *args)` touches, no more and no fewer."""
        shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *args, method=run))["params"]
        params, _ = rules.convert(weights, rule_list, shapes)
        self.params = jax.tree.map(jnp.asarray, params)
        targets, _ = rules.plan(weights, rule_list, shapes)
        self._places = {
            piece.name: (target.name, piece, start, stop)
            for target in targets
            for piece, start, stop in _columns(target, weights)
        }

    def __contains__(self, name: str) -> bool:
        """Whether a foreign parameter is used, not ignored."""
        return name in self._places

    def ours(self, name: str) -> str:
        """Our name of a foreign parameter."""
        return self._places[name][0]

    def part(self, flat: Mapping[str, Any], name: str) -> np.ndarray:
        """What a foreign parameter has become in a flat tree like ours (values, gradients)."""
        target, _, start, stop = self._places[name]
        value = np.asarray(flat[target])
        return value[..., start:stop] if value.ndim else value

    def laid_out(self, name: str, array: np.ndarray) -> np.ndarray:
        """An array like the foreign parameter, in our layout."""
        return self._places[name][1].layout(array)


def _columns(target: rules.Target, weights: Mapping[str, np.ndarray]):
    """(piece, first column, last column + 1) of each foreign parameter of a target."""
    start = 0
    for piece in target.pieces:
        stop = start + piece.layout(weights[piece.name]).shape[-1]
        yield piece, start, stop
        start = stop
