"""Cases p: VLA-Pruner's released code (greedy selection, guidance, pruned decoder, history)."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.accelerate import salience
from semanticvla_jax.accelerate.decoder import pruned
from semanticvla_jax.accelerate.fastv import FastV
from semanticvla_jax.accelerate.history import History, oldest_heaviest
from semanticvla_jax.accelerate.redundancy import max_min_order
from semanticvla_jax.accelerate.selection import scatter
from semanticvla_jax.accelerate.view import Rows, View
from semanticvla_jax.accelerate.vla_pruner import VLAPruner
from semanticvla_jax.models.sequence import Landmarks, causal_mask
from semanticvla_jax.weights import hugging_face
from tests.models.smallest import jit
from tests.parity import slots
from tests.parity.golden import Golden
from tests.parity.precision import Precision, Tolerance, values
from tests.parity.quantities import Quantity, exact
from tests.parity.weights import Imported, our_shapes

TOLERANCE = Tolerance(1e-5)
# The released code's names of who is asked about scores.
ROWS = {
    "lasttok": salience.last_row,
    "prefill": salience.all_rows,
    "textvision": salience.text_rows,
    "sparsevlm": salience.rater_rows,
}


def check(case: Golden, precision: Precision) -> list[Quantity]:
    """Which part it is, its outputs tell."""
    if "history_vector" in case.outputs:
        return check_history(case, precision)
    if "unpruned/hidden_last" in case.outputs:
        return check_decoder(case, precision)
    return check_selection(case, precision)


def check_selection(case: Golden, precision: Precision) -> list[Quantity]:
    """Greedy picks, in their order; guidance of a full history."""
    found = {}
    for name, features in case.inputs.items():
        if number := re.fullmatch(r"feat(\d+)", name):
            keep = int(case.inputs[f"keep{number[1]}"])
            everyone = jnp.ones((1, len(features)), bool)
            picked = max_min_order(jnp.asarray(features)[None], everyone, keep)[0]
            found[f"selected{number[1]}"] = picked
    vectors = case.inputs["history_oldest_first"]
    history = History(jnp.asarray(vectors)[None], jnp.array([len(vectors)]))
    guidance = {}
    for name in case.outputs:
        if decay := re.fullmatch(r"guidance_gamma(.+)", name):
            weights = oldest_heaviest(len(vectors), float(decay[1]))
            guidance[name] = history.guidance(weights)[0]
    return [
        *exact(found, case.outputs, "choices"),
        *values(case, precision, guidance, TOLERANCE, "guidance"),
    ]


def check_history(case: Golden, precision: Precision) -> list[Quantity]:
    """Attention of decoded words, back at the image tokens' places; its mean is remembered."""
    c, kept = case.config, case.inputs["kept_indices"]
    visual = case.outputs["history_vector"].shape[0]
    layers = sorted({int(m[1]) for n in case.inputs if (m := re.search(r"layer(\d+)", n))})

    def action_vision(layer: int):
        steps = [case.inputs[f"att_step{t}_layer{layer}_lastrow"] for t in range(c["steps"])]
        there = np.arange(c["S"]) if layer < c["pruning_layer"] else kept
        columns = np.flatnonzero((there >= 1) & (there <= visual))
        attention = jnp.stack([jnp.asarray(step)[:, columns] for step in steps], axis=1)
        token = jnp.asarray(there[columns] - 1)[None]
        return scatter(attention[None], token, jnp.ones(token.shape, bool), visual)[0]

    found = {layer: action_vision(layer) for layer in layers}
    pruner = VLAPruner(window=1)
    seen = found[c["layer_used"]].mean((0, 1))[None]
    history = pruner.remember(pruner.begin(1, visual), seen)
    return values(
        case,
        precision,
        {
            "action_vision": jnp.stack(list(found.values())),
            "history_vector": history.vectors[0, -1],
        },
        TOLERANCE,
    )


def check_decoder(case: Golden, precision: Precision) -> list[Quantity]:
    """Each variant of the pruned decoder: rows that stay, their states, logits and scores."""
    rule_list = hugging_face.hf_llama("", "llm/", lm_head=True)
    shapes = slots.under(our_shapes(case.weights, rule_list), "llm/")
    config = case.config["config"]
    slot = slots.llama(shapes, config["num_attention_heads"], config)
    model = slots.model({"llm": slot}, precision)
    x = jnp.asarray(case.inputs["inputs_embeds"])
    mask = causal_mask(jnp.ones(x.shape[:2], bool), None, 0)
    first = case.config["image_token_start_index"]
    visual = slice(first, first + case.config["image_token_length"])
    landmarks = Landmarks(visual, jnp.full(len(x), x.shape[1]))
    names = sorted({name.rpartition("/")[0] for name in case.outputs} - {"unpruned"})

    def plain(m):
        m.llm.embed(jnp.zeros((1, 1), jnp.int32))
        states = m.llm(x, mask)
        m.llm.logits(states)
        positions = jnp.arange(x.shape[1])[None]
        hidden = m.llm.run(x, mask, positions, 0, case.config["fastv_k"] - 1)
        shown = m.llm.run_showing(hidden, mask, positions, case.config["fastv_k"] - 1)
        rows = Rows.all(*x.shape[:2], visual)
        return states, View(shown[1], shown[0], x, rows, landmarks.start)

    def variant(m, name: str) -> tuple[dict, jax.Array]:
        method = method_of(name, case.config["fastv_k"])
        cuts = method.cuts(method.keep(visual.stop - first))
        llm = pruned(m.llm, cuts)
        guidance = jnp.asarray(case.inputs["guidance"])[None, None]
        episode = {method.name: History(guidance, jnp.ones(1, jnp.int32))}
        variables = {"params": m.variables["params"]["llm"], "episode": episode}
        states, rows = llm.apply(variables, x, mask, landmarks, method="compact_states")
        logits = llm.apply(variables, states[:, -1], method="logits")
        return {"hidden_last": states, "logits_last": logits}, rows.index[0]

    def compute(m):
        states, view = plain(m)
        # Whichever rows decide, the case's scores are of all rows or of the last.
        scores = {
            n: view.attention_from(ROWS["prefill" if n.startswith("prefill") else "lasttok"](view))
            for n in names
        }
        found = {n: variant(m, n) for n in names}
        return states, scores, found

    imported = Imported(case.weights, rule_list, model, lambda m: plain(m)[0])
    run = jit(lambda p: model.apply({"params": p}, method=compute))
    states, scores, found = run(imported.params)
    numbers = {"unpruned/hidden_last": states}
    numbers |= {f"{name}/score_source_layer": scores[name][0] for name in names}
    numbers |= {f"{n}/{key}": value for n in names for key, value in found[n][0].items()}
    rows = {f"{name}/kept_indices": found[name][1] for name in names}
    return [
        *exact(rows, case.outputs, "choices"),
        *values(case, precision, numbers, TOLERANCE),
    ]


def method_of(name: str, before: int) -> VLAPruner | FastV:
    """The method that the released code's flags, `<rows>[_temporal]_r<share>`, mean."""
    rows, temporal, drop = re.fullmatch(r"([a-z]+)(_temporal)?_r(.+)", name).groups()
    common = {"drop": float(drop), "before": before, "rows": ROWS[rows]}
    return VLAPruner(window=1, **common) if temporal else FastV(**common)
