"""Cases b: the language-modulated DINOv2 tower with aggregation tokens, block by block."""

from __future__ import annotations

from semanticvla_jax.weights import authors
from semanticvla_jax.weights.timm import timm_vit
from tests.models.smallest import jit
from tests.parity import slots
from tests.parity.golden import Golden, images_last
from tests.parity.precision import Precision, Tolerance, values
from tests.parity.quantities import Quantity
from tests.parity.weights import Imported, our_shapes

TOLERANCE = Tolerance(1e-5)


def rule_list() -> list:
    """A tower called `vit`, its language maps, and the queries where a backbone has them."""
    return [
        *timm_vit(r"vit\.", "dino/", final_norm=True),
        *authors.film(r"vit\.", "pruners/dino/"),
        *authors.vision_backbone(""),
    ]


def check(case: Golden, precision: Precision) -> list[Quantity]:
    model = slots.model(tower_slots(case), precision)
    pixels = images_last(case.inputs["pixel_values"])
    language = case.inputs["average_language_embedding"]

    def compute(m):
        modulations = m.pruners.dino.condition(language.astype(m.dino.dtype), None).modulations
        tokens = [m.dino.embed(pixels, m.pruners.dino.appended())]
        for i in range(m.dino.depth):
            tokens.append(m.dino.run(tokens[-1], i, i + 1, modulations))
        plain = m.dino.run(m.dino.embed(pixels), 0, m.dino.depth - 1, modulations)
        return {
            "input_tokens": tokens[0],
            **{f"block{i}": t for i, t in enumerate(tokens[1:])},
            "out_second_to_last": features(m.dino, tokens[-2]),
            "prefix_second_to_last": m.dino.split(tokens[-2])[0],
            "out_last": features(m.dino, tokens[-1]),
            "out_last_normed": features(m.dino, m.dino.normed(tokens[-1])),
            "out_second_to_last_all_patches": m.dino.split(plain)[1],
        }

    imported = Imported(case.weights, rule_list(), model, compute)
    found = jit(lambda p: model.apply({"params": p}, method=compute))(imported.params)
    return values(case, precision, found, TOLERANCE)


def features(tower, tokens):
    """The queries where there are some, the patches otherwise."""
    _, patches, queries = tower.split(tokens)
    return queries if queries.shape[1] else patches


def tower_slots(case: Golden) -> dict:
    c = case.config
    shapes = our_shapes(case.weights, rule_list())
    image = case.inputs["pixel_values"].shape[-1]
    stated = slots.transformer(c, "ln_eps", "epsilon")
    dino = slots.tower(slots.under(shapes, "dino/"), image, c["heads"], **stated)
    queries, _ = shapes.get("pruners/dino/queries", (0, 0))
    pruner = slots.pruner({"num_vision_queries": queries, "use_film": c["film"]}, shapes)
    return {"dino": dino, "pruners": slots.STAND_INS["pruners"] | {"dino": pruner}}
