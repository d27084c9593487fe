"""Cases c and d: both towers with the Dense-Fuser between them, and the pruners behind them."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from semanticvla_jax.models import pruners
from semanticvla_jax.weights import authors
from semanticvla_jax.weights.rules import Rule, ignore
from semanticvla_jax.weights.timm import timm_vit
from tests.models.smallest import jit
from tests.parity import slots
from tests.parity.golden import Golden
from tests.parity.precision import FLOAT32, Choices, Precision, Tolerance, following, values
from tests.parity.quantities import Quantity, choice
from tests.parity.weights import Imported, our_shapes

TOLERANCE = Tolerance(5e-5)
TOWERS = {"dino": "featurizer", "siglip": "fused_featurizer"}


def rule_list(case: Golden) -> list[Rule]:
    """Those of a backbone and of the projectors, without the prefixes of a whole model."""
    found = [*authors.vision_backbone(""), *authors.projectors("", "fuser/sparse_fuser/")]
    if case.config.get("cross", True):
        return found
    return [*behind_the_features(case, found), *found]


def behind_the_features(case: Golden, rules: list[Rule]) -> list[Rule]:
    """Without exchange, features come from the second to last block: the last is never run."""
    shapes = our_shapes(case.weights, rules)
    last = {name: slots.count(slots.under(shapes, f"{name}/"), "blocks") - 1 for name in TOWERS}
    return [
        ignore(rf"vision_backbone\.{TOWERS[name]}\.blocks\.{i}\..*", "behind the feature layer")
        for name, i in last.items()
    ]


def with_last_norms(rules: list[Rule]) -> list[Rule]:
    """The same for towers that own their last norms, which a VLA's do not."""
    towers = [
        timm_vit(rf"vision_backbone\.{theirs}\.", f"{ours}/", final_norm=True)
        for ours, theirs in TOWERS.items()
    ]
    return [*towers[0], *towers[1], *rules]


def backbone(case: Golden, rules: list[Rule], precision: Precision):
    """The model of a case; towers keep all their blocks, run or not."""
    c = case.config
    image = case.inputs["pixel_values"].shape[-1]
    every_block = [rule for rule in rules if rule.reason != "behind the feature layer"]
    shapes = our_shapes(case.weights, every_block)
    width = shapes.get("fuser/sparse_fuser/projector/fc3/bias", (c["llm_dim"],))[0]
    llm = {"llm": slots.STAND_INS["llm"] | {"width": width}}
    return slots.model({**llm, **slots.vision(c, shapes, image)}, precision)


def check_exchange(case: Golden, precision: Precision) -> list[Quantity]:
    """Cases c: tokens before and after each exchange, and the features."""
    rules = with_last_norms(rule_list(case))
    model = backbone(case, rules, precision)
    dino, siglip = case.pixels()
    language = case.inputs["average_language_embedding"]
    images = dino.shape[1]

    def compute(m):
        conditions = {
            "dino": m.pruners.dino.condition(language.astype(m.dino.dtype), None),
            "siglip": pruners.Condition(),
        }
        features, exchanges = m.encode({"dino": dino, "siglip": siglip}, conditions)
        kept = features["dino"][1] if features["dino"][1].shape[1] else features["dino"][0]
        patches = features["siglip"][0]
        found = {
            "dino_queries_last": kept,
            "siglip_patches_last": patches,
            "dino_queries_last_normed": m.dino.normed(kept),
            "siglip_patches_last_normed": m.siglip.normed(patches),
        }
        by_image = {} if images == 1 else dict(found)
        for i, exchange in enumerate(exchanges):
            for tower, (before, after) in exchange.items():
                by_image |= {f"pair{i}/{tower}_before": before, f"pair{i}/{tower}_after": after}
        return {**found, **per_image(by_image, images)}

    imported = Imported(case.weights, rules, model, compute)
    found = jit(lambda p: model.apply({"params": p}, method=compute))(imported.params)
    return values(case, precision, found, TOLERANCE)


def check_backbone(case: Golden, precision: Precision) -> list[Quantity]:
    """Cases d: features, similarity, and what the pruners hand on; projections where there are."""
    given = precision.given(lambda: run_backbone(case, FLOAT32, None)["choices"])
    found = run_backbone(case, precision, given)
    quantities = values(case, precision, found, TOLERANCE)
    for name in (n for n in case.outputs if n.endswith("/similarity")):
        quantities += choices_by_similarity(case, precision, name, found[name])
    return quantities


def run_backbone(case: Golden, precision: Precision, given: Choices | None) -> dict:
    """Every quantity by its name in the case, and `choices`, the model's own, of all images."""
    rules = rule_list(case)
    model = backbone(case, rules, precision)
    dino, siglip = case.pixels()
    images = dino.shape[1]
    language = case.inputs.get("language_embeddings", np.zeros((len(dino), 1, 1), np.float32))
    text_ids = case.inputs.get("text_ids", np.zeros((len(dino), 1), int))

    def compute(m):
        embeddings = jnp.asarray(language, m.llm.dtype)
        valid = jnp.ones(embeddings.shape[:2], bool)
        conditions = m.pruners.condition(embeddings, valid, text_ids)
        features, _ = m.encode({"dino": dino, "siglip": siglip}, conditions)
        with following(given):
            selected = m.pruners.select(features, conditions)
        details = selected["siglip"].details
        found = {
            "dino_tokens": features["dino"][1],
            "dino_patches": features["dino"][0],
            "siglip_patches": features["siglip"][0],
            **{f"out_{n}": jnp.concatenate([s.cues, s.anchors], 1) for n, s in selected.items()},
        }
        if details:
            found["similarity"] = details["similarity"]
        if "projector.fc1.weight" in case.weights:
            found["projected"] = m.fuser.merge(**selected)
        chosen = [details[k] for k in ("kept_patches", "cue_words") if details]
        return {**per_image(found, images), "choices": chosen}

    imported = Imported(case.weights, rules, model, compute)
    return jit(lambda p: model.apply({"params": p}, method=compute))(imported.params)


def choices_by_similarity(
    case: Golden, precision: Precision, name: str, found: np.ndarray
) -> list[Quantity]:
    """What one image's similarity chooses, against what the reference's chooses."""
    settings = case.config["fused_featurizer_cfg"]
    sides: list[tuple[str, int, Callable]] = [
        ("kept patches", settings["vision_topk"], lambda s: np.asarray(s).mean(2)),
        ("cue words", settings["text_topk"], lambda s: np.asarray(s).mean(1)),
    ]
    out = []
    for what, k, scores in sides:
        own, reference = (scores(s) for s in (found, case.outputs[name]))
        chosen, expected = (pruners.top_k_in_order(s, max(k, 0)) for s in (own, reference))
        tolerance = precision.choice_tolerance(case, name)
        label = name.replace("similarity", what)
        out.append(choice(label, chosen, expected, reference, tolerance))
    return out


def per_image(found: dict, images: int) -> dict:
    """[B I, ...] arrays -> `img<i>/<name>` [B, ...]."""
    return {
        f"img{i}/{name}": x.reshape(x.shape[0] // images, images, *x.shape[1:])[:, i]
        for name, x in found.items()
        for i in range(images)
    }
