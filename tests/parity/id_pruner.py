"""Cases a: ID-Pruner alone, in evaluation and with the noise of training."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from semanticvla_jax.models import pruners
from semanticvla_jax.weights import authors
from tests.models.smallest import jit
from tests.parity import slots
from tests.parity.golden import Golden
from tests.parity.precision import Choices, Precision, Tolerance, following, values
from tests.parity.quantities import Quantity, choice, exact
from tests.parity.weights import Imported, our_shapes

TOLERANCE = Tolerance(1e-5)


def check(case: Golden, precision: Precision) -> list[Quantity]:
    found = run(case, precision, precision.given(lambda: reference_choices(case)))
    mask = {"attention_mask": found.pop("attention_mask")}
    return [
        *values(case, precision, found, TOLERANCE),
        *exact(mask, case.outputs),
        *choices(case, precision, found),
    ]


def reference_choices(case: Golden) -> list[np.ndarray]:
    """In the order in which the model makes them; an empty one for words that are not chosen."""
    none = np.zeros((len(case.inputs["text_ids"]), 0), int)
    return [
        case.outputs.get(f"{run}{kind}_index", none)
        for run in ("", "train_")
        for kind in ("l2v", "v2l")
    ]


def choices(case: Golden, precision: Precision, found: dict) -> list[Quantity]:
    """What the model's own scores choose."""
    out = []
    for name in (n for n in case.outputs if n.endswith("_index")):
        scores = name.replace("index", "score")
        reference = case.outputs[name]
        chosen = pruners.top_k_in_order(found[scores], reference.shape[1])
        tolerance = precision.choice_tolerance(case, scores)
        out.append(choice(name, chosen, reference, case.outputs[scores], tolerance))
    return out


def run(case: Golden, precision: Precision, given: Choices | None) -> dict:
    """Every quantity by its name in the case."""
    rule_list = authors.id_pruner("", "pruners/")
    model = slots.model(pruner_slots(case, our_shapes(case.weights, rule_list)), precision)
    ids, noise = case.inputs["text_ids"], case.inputs["noise"]
    patches = case.inputs["vision_embedding"].astype(model.siglip.dtype)

    def compute(m):
        words = m.pruners.read(ids)
        found = {"text_last_hidden_state": words.states, "attention_mask": words.mask}
        words = m.pruners.siglip.condition(None, words).words
        with following(given):
            plain, noisy = (
                m.pruners.siglip.select(patches, patches[:, :0], words, drawn)
                for drawn in (None, noise)
            )
        for prefix, s in (("", plain), ("train_", noisy)):
            found |= {
                "text_projected": s.details["words"],
                f"{prefix}similarity": s.details["similarity"],
                f"{prefix}l2v_score": s.details["patch_scores"],
                f"{prefix}l2v_tokens": s.anchors,
                f"{prefix}v2l_score": s.details["word_scores"],
                f"{prefix}v2l_tokens": s.cues,
                f"{prefix}out": jnp.concatenate([s.cues, s.anchors], 1),
            }
        return found

    imported = Imported(case.weights, rule_list, model, compute)
    return jit(lambda p: model.apply({"params": p}, method=compute))(imported.params)


def pruner_slots(case: Golden, shapes: slots.Shapes) -> dict:
    """The pruner, its text tower, and a stand-in for the tower that made the patches."""
    c = case.config
    patches, width = case.inputs["vision_embedding"].shape[1:]
    # One pixel per patch, at least as many as there are.
    tower = slots.STAND_INS["siglip"] | {
        "width": width,
        "image_size": math.ceil(math.sqrt(patches)),
    }
    config = {"use_mm_sampler": True, **c}
    words = slots.under(shapes, "pruners/text_encoder/")
    return {
        "siglip": tower,
        "pruners": slots.STAND_INS["pruners"]
        | {
            "text_encoder": slots.text_encoder(words, c["text_heads"], c.get("text_config", {})),
            "siglip": slots.pruner(config, shapes),
            "pad_id": c.get("pad_token_id", 1),
        },
    }
