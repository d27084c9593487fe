"""Cases e: the whole model on a padded training batch and on one observation, with gradients."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from semanticvla_jax.data.normalization import Bounds, Statistics
from semanticvla_jax.models import pruners
from semanticvla_jax.models.sequence import language_ids
from semanticvla_jax.weights import authors
from tests.models.smallest import jit
from tests.parity import gradients, slots
from tests.parity.encoders import decoder_states
from tests.parity.golden import Golden
from tests.parity.precision import FLOAT32, Choices, Precision, Tolerance, following, values
from tests.parity.quantities import Quantity, choice, compare, exact
from tests.parity.weights import Imported, our_shapes

TOLERANCE = Tolerance(5e-5, relative=0.10)
# Llama's "empty" token, which ends every prompt; the released code appends it where it is absent.
EMPTY_ID = 29871


class WholeModel:
    """The product's model with a case's weights, fed with normalised pixels."""

    def __init__(self, case: Golden, precision: Precision, lora: Mapping | None = None):
        """`lora`: the model's adapters; with them it owns the vocabulary head, which has some."""
        rule_list = authors.semanticvla(lm_head=bool(lora))
        shapes = our_shapes(case.weights, rule_list)
        config = slots.vision(case.config, shapes, case.inputs["pixel_values"].shape[-1])
        actions = case.inputs["ground_truth_actions"].shape[1:]
        config |= slots.decoder(case.config, shapes, *actions)
        self.model = slots.model({**config, "lora": lora}, precision)
        batch = training_batch(case)
        self.imported = Imported(case.weights, rule_list, self.model, observe, batch)
        self.params = self.imported.params
        self.run = jit(self.forward)
        self.differentiate = jit(jax.value_and_grad(self.forward, has_aux=True))

    def forward(
        self, params, batch: Mapping[str, Any], given: Choices | None = None
    ) -> tuple[jax.Array, dict]:
        """(loss, everything that a case records)."""
        return self.model.apply({"params": params}, batch, given, method=observe)


def observe(m, batch: Mapping[str, Any], given: Choices | None = None) -> tuple[jax.Array, dict]:
    """Loss of a batch with `dino` and `siglip` pixels, and every state on the way."""
    prompt = batch["prompt_ids"], batch["prompt_mask"]
    ids, valid = language_ids(*prompt, m.coupler.bos_id, m.coupler.stop_id)
    language = m.pruners.pooling(m.llm.embed(ids), valid)
    with following(given):
        actions, details = m.from_pixels(batch["dino"], batch["siglip"], batch)
    weights = jnp.ones(actions.shape[-1])
    loss, _ = m.head.supervise(details["action_states"], batch["actions"], weights)
    sequence = details["sequence"]
    return loss, {
        **details,
        "loss": loss,
        "actions": actions,
        "language": language,
        "first_row": m.coupler.first_row(sequence.start),
        "states": decoder_states(m.llm, sequence.embeddings, sequence.mask),
    }


def pad_id(case: Golden) -> int:
    """The decoder's pad token; its embedding counts where pads are averaged over."""
    return case.config.get("llama_full_config", {}).get("pad_token_id", 32000)


def training_batch(case: Golden) -> dict[str, Any]:
    """The authors' [BOS, prompt, action ids, stop, pads] as our batch."""
    ids, valid = case.inputs["input_ids"], case.inputs["attention_mask"] != 0
    actions = case.inputs["ground_truth_actions"]
    behind = actions.shape[1] * case.config["num_action_tokens"] + 1
    size, lengths = ids.shape[1] - behind - 1, valid.sum(1) - behind - 1
    inside = np.arange(size)[None] < lengths[:, None]
    dino, siglip = case.pixels()
    return {
        "dino": dino,
        "siglip": siglip,
        "state": case.inputs["proprio_normalized"],
        "prompt_ids": np.where(inside, ids[:, 1 : size + 1], pad_id(case)).astype(np.int32),
        "prompt_mask": inside,
        "text_ids": case.inputs["instruction_ids"].astype(np.int32),
        "actions": actions,
    }


def alone(batch: Mapping[str, Any], row: int) -> dict[str, Any]:
    """One sample of a batch, without the padding that its batch-mates force."""
    one = {k: v[row : row + 1] for k, v in batch.items()}
    length = int(one["prompt_mask"].sum())
    return one | {k: one[k][:, :length] for k in ("prompt_ids", "prompt_mask")}


def observation(case: Golden) -> dict[str, Any]:
    """What the released `predict_action` makes of sample 0: its own prompt, its raw state."""
    prompt = case.inputs["predict_input_ids"][:, 1:]
    if (prompt[:, -1] != EMPTY_ID).any():
        prompt = np.pad(prompt, ((0, 0), (0, 1)), constant_values=EMPTY_ID)
    return alone(training_batch(case), 0) | {
        "prompt_ids": prompt.astype(np.int32),
        "prompt_mask": np.ones(prompt.shape, bool),
        "state": normalised_state(case)[:1].astype(np.float32),
    }


def bounds(case: Golden, quantity: str) -> Bounds:
    """The product's normalisation of "action" or "proprio" with the case's statistics."""
    statistics = case.config["norm_stats"][case.config["unnorm_key"]][quantity]
    kind = case.config["normalization"].rpartition(".")[2].lower()
    return Statistics.from_json(statistics, quantity).bounds(kind)


def normalised_state(case: Golden) -> np.ndarray:
    return bounds(case, "proprio").normalize_unguarded(case.inputs["proprio_raw"])


def check(case: Golden, precision: Precision) -> list[Quantity]:
    whole = WholeModel(case, precision)
    batches = {"train": training_batch(case), "predict": observation(case)}
    for run in sorted({name.partition("/")[0] for name in case.outputs}):
        if sample := re.fullmatch(r"train_nopad_b(\d+)", run):
            batches[run] = alone(batches["train"], int(sample[1]))
    state = normalised_state(case), case.inputs["proprio_normalized"]
    quantities = [compare("proprio_normalized", *state, 1e-6, "normalisation")]
    reference = functools.cache(lambda: WholeModel(case, FLOAT32))
    outs: dict[str, dict] = {}
    if precision.gradients:
        (_, outs["train"]), grads = whole.differentiate(whole.params, batches["train"])
        quantities += check_gradients(case, whole, flatten_dict(grads, sep="/"))
    for run, batch in batches.items():
        own: dict[str, Any] = {}
        given = precision.given(lambda b=batch, own=own: own_choices(own, reference(), b))
        out = outs.get(run) or whole.run(whole.params, batch, given)[1]
        quantities += check_run(case, precision, run, batch, out, own)
    return quantities


def check_run(
    case: Golden, precision: Precision, run: str, batch: dict, out: dict, own: dict
) -> list[Quantity]:
    """Values, masks and choices of one forward pass."""
    return [
        *values(case, precision, recorded(run, out, batch), TOLERANCE, run),
        *exact(recorded_masks(run, out), case.outputs, f"{run} masks"),
        *check_actions(case, precision, run, out),
        *check_choices(case, precision, run, out, own),
    ]


def recorded(run: str, out: dict, batch: dict) -> dict[str, Any]:
    """Numbers by their names in the case."""
    rows = out["actions"].shape[0]
    width = out["states"][0].shape[-1]
    error = np.abs(np.asarray(out["actions"], np.float32) - batch["actions"])
    named = {
        "language_embeddings_mean": out["language"],
        "vision_tokens": out["image_tokens"].reshape(rows, -1, width),
        "multimodal_embeddings": out["sequence"].embeddings,
        "actions_hidden_states": out["action_states"].reshape(rows, -1, width),
        "predicted_actions": out["actions"],
        "normalized_actions": out["actions"],
        "l1_loss": out["loss"],
        "curr_action_l1": error[:, 0].mean(),
        "next_actions_l1": error[:, 1:].mean(),
        **{f"hidden{i}": state for i, state in enumerate(out["states"])},
    }
    return {f"{run}/{name}": value for name, value in named.items()}


def recorded_masks(run: str, out: dict) -> dict[str, Any]:
    """Masks by their names; those over the text tell where the placeholders are, and what is read.

    The authors' text positions are ours without the image and proprioception tokens.
    """
    sequence = out["sequence"]
    tokens = out["action_states"].shape[1] * out["action_states"].shape[2]
    context = out["image_tokens"].shape[1] * out["image_tokens"].shape[2] + 1
    size = sequence.valid.shape[1] - context
    named = {
        "attend": sequence.mask[:, 0],
        "multimodal_attention_mask": sequence.valid,
        "all_actions_mask": span(sequence.start - context, tokens, size),
        "shifted_action_mask": span(out["first_row"] - context, tokens, size - 1),
    }
    return {f"{run}/{name}": value for name, value in named.items()}


def span(start, length: int, size: int) -> np.ndarray:
    """int[B] -> bool[B, size], True at start .. start + length - 1."""
    offset = np.arange(size)[None] - np.asarray(start)[:, None]
    return (offset >= 0) & (offset < length)


def check_actions(case: Golden, precision: Precision, run: str, out: dict) -> list[Quantity]:
    """The robot's actions [K, A] of the first sample, where the case has them."""
    name = f"{run}/actions"
    if name not in case.outputs:
        return []
    unit = bounds(case, "action")
    actions = unit.unnormalize(np.asarray(out["actions"][0], np.float32))
    # A normalised error grows by half of each dimension's range.
    growth = max(1.0, float((unit.high - unit.low)[unit.mask].max(initial=0.0)) / 2)
    tolerance = precision.tolerance(case, f"{run}/normalized_actions", out["actions"], TOLERANCE)
    return [compare(name, actions, case.outputs[name], tolerance * growth, "normalisation")]


def own_choices(own: dict, reference: WholeModel, batch: dict) -> list[np.ndarray]:
    """The float32 model's choices, which its own check has shown to be the reference's."""
    own |= flat_details(reference.run(reference.params, batch)[1])
    return [own["kept_patches"], own["cue_words"]]


def flat_details(out: dict) -> dict[str, np.ndarray]:
    """The ID-Pruner's details [B, I, ...] as [B I, ...]."""
    return {k: np.asarray(v).reshape(-1, *v.shape[2:]) for k, v in out["siglip"].items()}


def check_choices(case: Golden, precision: Precision, run: str, out: dict, own: dict) -> list:
    """Where choices were given: what the model's own scores would have chosen."""
    if not own:
        return []
    found, quantities = flat_details(out), []
    for scores, chosen in (("patch_scores", "kept_patches"), ("word_scores", "cue_words")):
        expected = own[chosen]
        free = pruners.top_k_in_order(found[scores], expected.shape[1])
        tolerance = precision.choice_tolerance(case, scores)
        name = f"{run}/{chosen.replace('_', ' ')}"
        quantities.append(choice(name, free, expected, own[scores], tolerance))
    return quantities


def check_gradients(case: Golden, whole: WholeModel, grads: dict) -> list[Quantity]:
    """Norms of all parameters' gradients, and the whole gradients that the case has."""
    expected = case.config["grad_norms"]
    found = gradients.norms(whole.imported, grads, list(expected), pad_id(case))
    quantities = gradients.check_norms(found, expected)
    for name in (n for n in case.outputs if n.startswith("grad/")):
        source = f"vla.{name.removeprefix('grad/')}"
        sides = (
            whole.imported.part(grads, source),
            whole.imported.laid_out(source, case.outputs[name]),
        )
        quantities.append(gradients.compare_whole(name, *sides))
    return quantities
