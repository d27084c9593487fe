"""Our model's query in parts, each compiled by itself: where the time goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from semanticvla_jax.models.semanticvla import Instruction
from semanticvla_jax.models.sequence import Prefix
from semanticvla_jax.policy import Policy

TOWERS = ("dino", "siglip")


def towers(
    model, pixels: tuple[jax.Array, jax.Array], instruction: Instruction
) -> dict[str, jax.Array]:
    """Both towers' tokens, without any exchange between them."""
    tokens, appended = {}, model.pruners.appended()
    for name, seen in zip(TOWERS, pixels, strict=True):
        images, per_block = seen.shape[1], instruction.conditions[name].modulations
        per_block = jax.tree.map(lambda x, n=images: x.repeat(n, 0), per_block)
        flat = seen.reshape(-1, *seen.shape[2:])
        tokens[name] = getattr(model, name)(flat, appended[name], per_block)
    return tokens


def fuse_and_prune(
    model, tokens: dict[str, jax.Array], instruction: Instruction, state: jax.Array
) -> tuple[list, Prefix]:
    """All exchanges, on the last features, and what the decoder is told of those."""
    features = {name: getattr(model, name).split(tokens[name])[1:] for name in TOWERS}
    patches = [features[name][0] for name in TOWERS]
    exchanged = [model.fuser.exchange(pair, *patches) for pair in range(len(model.fuser.pairs))]
    selected = model.pruners.select(features, instruction.conditions)
    return exchanged, model.tell(selected, instruction, state)[0]


def decode(model, prefix: Prefix) -> jax.Array:
    """The action tokens' states [B, K, T, d]."""
    return model.coupler.states(model.llm, prefix)["action_states"]


def decode_words(model, prefix: Prefix) -> jax.Array:
    """Actions, of couplers whose words come one after another."""
    return model.decode(prefix)[0]


def stages(policy: Policy, observation: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """All parts of a query, on the intermediate results of one observation.

    Together they are the query, but for where the exchanges stand between the towers' blocks.
    """
    model, params, fields = policy.model, policy.params, policy.compiled.pixels.fields

    def compiled(method: Callable) -> Callable:
        return jax.jit(lambda params, *a: model.apply({"params": params}, *a, method=method))

    def part(method: Callable, *given: Any) -> tuple[Callable[[], Any], Any]:
        run = compiled(method)
        return lambda: jax.block_until_ready(run(params, *given)), run(params, *given)

    @compiled
    def see(model, given: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return model.pixels({"images": policy.compiled.pixels.images(given)})

    def preprocess() -> tuple[jax.Array, jax.Array]:
        row = policy.receive(observation)
        return jax.block_until_ready(see(params, {name: row[name][None] for name in fields}))

    row = policy.receive(observation)
    room = policy.compiled.room(row)
    row |= {name: row[name][:room] for name in ("prompt_ids", "prompt_mask")}
    batch = {name: jnp.asarray(value)[None] for name, value in row.items()}
    parts, pixels = {}, preprocess()
    parts["instruction"], instruction = part(lambda model, batch: model.understand(batch), batch)
    parts["preprocessing"] = preprocess
    parts["towers"], tokens = part(towers, pixels, instruction)
    parts["fusers, pruners"], (_, prefix) = part(
        fuse_and_prune, tokens, instruction, batch["state"]
    )
    if not hasattr(model.coupler, "states"):
        return {**parts, "decoder": part(decode_words, prefix)[0]}
    parts["decoder"], states = part(decode, prefix)
    parts["heads"], _ = part(lambda model, states: model.head(states), states)
    return parts
