"""A run's first parameters: converted ones where there are some, fresh ones for the rest."""

from __future__ import annotations

from collections.abc import Callable

import jax

from semanticvla_jax.training import checkpoints as ckpt
from semanticvla_jax.training import parameters
from semanticvla_jax.training.stored import check_parameters


def initial_parameters(
    init: Callable[[jax.Array], dict],
    key: jax.Array,
    shapes: dict,
    shardings: dict,
    init_from: str | None,
) -> dict:
    """Parameters created in their final sharding.

    Args:
      init: key -> fresh parameters; only those that are needed are computed.
      key: for `init`.
      shapes: of all parameters.
      shardings: nested like `shapes`.
      init_from: a directory written by `semanticvla_jax.convert` or a run's --workdir, whose
        parameters replace fresh ones; empty or None for none.

    Raises:
      InputError: no checkpoint there, or it has parameters that the model has not, or others'
        shapes.
    """
    if not init_from:
        return jax.jit(init, out_shardings=shardings)(key)
    opened, step = ckpt.open_for_reading(init_from)
    stored = opened.params_shapes(step)
    check_parameters(stored, shapes, init_from, partly=True)
    given = {name: name in parameters.flatten(stored) for name in parameters.flatten(shapes)}
    wanted, fresh = parameters.split(shapes, given)
    placed, rest = parameters.split(shardings, given)
    loaded = opened.read_params(step, ckpt.abstract(wanted, placed))
    opened.close()
    if not fresh:
        return loaded
    create = jax.jit(lambda key: parameters.split(init(key), given)[1], out_shardings=rest)
    return parameters.merge(loaded, create(key))
