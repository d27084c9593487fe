"""Cases f: plain encoders as published, and inputs of low variance that show norm epsilons."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.models import sequence
from semanticvla_jax.models.heads import ResidualMLP
from semanticvla_jax.models.layers import Block
from semanticvla_jax.weights import authors, hugging_face
from semanticvla_jax.weights.timm import timm_vit
from tests.models.smallest import jit
from tests.parity import slots
from tests.parity.golden import Golden, images_last
from tests.parity.precision import Precision, Tolerance, values
from tests.parity.quantities import Quantity
from tests.parity.weights import Imported, our_shapes

TOLERANCE = Tolerance(1e-5)


def check(case: Golden, precision: Precision) -> list[Quantity]:
    """Which encoder it is, the case's configuration tells."""
    if "config" not in case.config:
        return check_epsilons(case, precision)
    config = case.config["config"]
    return ENCODERS[config.get("model_type", "timm")](case, config, precision)


def vision_check(rules: Callable) -> Callable:
    """Check of a vision tower whose weights `rules(source, target, final_norm=)` import."""

    def check_tower(case: Golden, config: dict, precision: Precision) -> list[Quantity]:
        rule_list = rules("", "dino/", final_norm=True)
        shapes = slots.under(our_shapes(case.weights, rule_list), "dino/")
        heads = config.get("num_attention_heads", config.get("heads"))
        stated = slots.transformer(config, "layer_norm_eps", "epsilon")
        image = case.inputs["pixel_values"].shape[-1]
        model = slots.model({"dino": slots.tower(shapes, image, heads, **stated)}, precision)
        pixels = images_last(case.inputs["pixel_values"])

        def compute(m):
            return tower_states(m.dino, pixels)

        imported = Imported(case.weights, rule_list, model, compute)
        found = jit(lambda p: model.apply({"params": p}, method=compute))(imported.params)
        return values(case, precision, found, TOLERANCE)

    return check_tower


def tower_states(tower, pixels) -> dict:
    """Tokens before and after every block, under all names that cases use for them."""
    tokens = [tower.embed(pixels)]
    for i in range(tower.depth):
        tokens.append(tower.run(tokens[-1], i, i + 1))
    found = {f"hidden{i}": t for i, t in enumerate(tokens)}
    for i, t in enumerate(tokens[1:]):
        prefix, patches, _ = tower.split(t)
        found |= {f"block{i}": t, f"block{i}_patches": patches, f"block{i}_prefix": prefix}
    normed = tower.normed(tokens[-1])
    found |= {
        "out_second_to_last": tower.split(tokens[-2])[1],
        "last_hidden_state": normed,
        "forward_features_normed": normed,
    }
    # Where there is a class token, Hugging Face's pooled output is its state.
    return found | ({"pooler_output": normed[:, 0]} if tower.class_token else {})


def check_text(case: Golden, config: dict, precision: Precision) -> list[Quantity]:
    """SigLIP's text tower, with and without a mask of the pads."""
    rule_list = authors.hf_siglip_text("", "pruners/text_encoder/")
    shapes = slots.under(our_shapes(case.weights, rule_list), "pruners/text_encoder/")
    encoder = slots.text_encoder(shapes, config["num_attention_heads"], config)
    pruners = slots.STAND_INS["pruners"] | {"text_encoder": encoder}
    model = slots.model({"pruners": pruners}, precision)
    ids = case.inputs["input_ids"]

    def compute(m, mask=None):
        return m.pruners.text_encoder(ids, mask)

    imported = Imported(case.weights, rule_list, model, compute)
    found = {}
    for name, mask in (("nomask", None), ("masked", ids != config["pad_token_id"])):
        last, states = text_states(model, imported.params, compute, mask)
        found[f"{name}_last_hidden_state"] = last
        found |= {f"{name}_hidden{i}": state for i, state in enumerate(states)}
    return values(case, precision, found, TOLERANCE)


def text_states(model, params, compute, mask) -> tuple:
    """(output, [embeddings, and the output of each block])."""

    def wanted(module: nn.Module, method: str) -> bool:
        return isinstance(module, Block | nn.Embed) and method == "__call__"

    def run(p):
        return model.apply({"params": p}, mask, method=compute, capture_intermediates=wanted)

    last, captured = jit(run)(params)
    seen = captured["intermediates"]["pruners"]["text_encoder"]
    positions = params["pruners"]["text_encoder"]["pos_embed"]
    words = seen["token_embed"]["__call__"][0]
    blocks = [
        seen[f"blocks_{i}"]["__call__"][0] for i in range(slots.count(_names(seen), "blocks"))
    ]
    return last, [words + positions[: words.shape[1]], *blocks]


def _names(tree: dict) -> dict:
    return {f"{name}/": () for name in tree}


def check_llama(case: Golden, config: dict, precision: Precision) -> list[Quantity]:
    """The decoder on padded token ids: every layer, and the logits."""
    rule_list = hugging_face.hf_llama("", "llm/", lm_head=True)
    shapes = slots.under(our_shapes(case.weights, rule_list), "llm/")
    llm = slots.llama(shapes, config["num_attention_heads"], config)
    ids = case.inputs["input_ids"]
    mask = sequence.causal_mask(case.inputs["attention_mask"] != 0, None, 0)

    def compute(m):
        states = decoder_states(m.llm, m.llm.embed(ids), mask)
        found = {f"hidden{i}": state for i, state in enumerate(states)}
        return {**found, "logits": m.llm.logits(states[-1])}

    quantities = []
    for layers, scan in (("layers one by one", False), ("layers stacked", True)):
        model = slots.model({"llm": llm | {"scan": scan}}, precision)
        imported = Imported(case.weights, rule_list, model, compute)
        found = jit(lambda p, m=model: m.apply({"params": p}, method=compute))(imported.params)
        quantities += values(case, precision, found, TOLERANCE, layers)
    return quantities


def decoder_states(llm, x, mask) -> list:
    """Embeddings and every layer's output; the last one after the final norm."""
    states = [x]
    positions = np.arange(x.shape[1])[None]
    for i in range(llm.depth):
        states.append(llm.run(states[-1], mask, positions, i, i + 1))
    return [*states[:-1], llm.finish(states[-1])]


def check_epsilons(case: Golden, precision: Precision) -> list[Quantity]:
    """All norms of the model at inputs of such low variance that a wrong epsilon shows."""
    rule_list = [
        *timm_vit(r"dino\.", "dino/"),
        *timm_vit(r"siglip\.", "siglip/"),
        *authors.hf_siglip_text(r"text\.", "pruners/text_encoder/"),
        *hugging_face.hf_llama(r"llama\.", "llm/", lm_head=False),
    ]
    weights = {n: w for n, w in case.weights.items() if not n.startswith("head.")}
    model = slots.model(probe_slots(case, our_shapes(weights, rule_list)), precision)
    inputs = {n: images_last(x) if x.ndim == 4 else x for n, x in case.inputs.items()}

    def compute(m):
        found = {}
        for name in ("dino", "siglip"):
            tokens = getattr(m, name).embed(inputs[f"{name}.pixel_values"])
            for i in range(getattr(m, name).depth):
                tokens = getattr(m, name).run(tokens, i, i + 1)
                found[f"{name}.block{i}"] = tokens
        found["text.last_hidden_state"] = m.pruners.text_encoder(inputs["text.input_ids"])
        x = jnp.asarray(inputs["llama.inputs_embeds"], m.llm.dtype)
        m.llm.embed(np.zeros((1, 1), int))  # the case has embeddings, though it does not use them
        mask = sequence.causal_mask(np.ones(x.shape[:2], bool), None, 0)
        states = decoder_states(m.llm, x, mask)
        return found | {f"llama.hidden{i}": state for i, state in enumerate(states)}

    imported = Imported(weights, rule_list, model, compute)
    found = jit(lambda p: model.apply({"params": p}, method=compute))(imported.params)
    return values(case, precision, {**found, **probe_head(case, precision)}, TOLERANCE)


def probe_slots(case: Golden, shapes: slots.Shapes) -> dict:
    """Four encoders of one width and number of heads."""
    c = case.config
    towers = {
        name: slots.tower(
            slots.under(shapes, f"{name}/"),
            case.inputs[f"{name}.pixel_values"].shape[-1],
            c["heads"],
        )
        for name in ("dino", "siglip")
    }
    encoder = slots.text_encoder(slots.under(shapes, "pruners/text_encoder/"), c["heads"], {})
    return {
        **towers,
        "pruners": slots.STAND_INS["pruners"] | {"text_encoder": encoder},
        "llm": slots.llama(slots.under(shapes, "llm/"), c["heads"], {}),
    }


def probe_head(case: Golden, precision: Precision) -> dict:
    """One type's MLP of the action head."""
    weights = {n: w for n, w in case.weights.items() if n.startswith("head.")}
    rule_list = authors.residual_mlp(r"head\.", "")
    shapes = our_shapes(weights, rule_list)
    head = slots.model({}, precision).head
    x = jnp.asarray(case.inputs["head.x"], head.param_dtype)
    mlp = ResidualMLP(
        hidden=shapes["fc1/kernel"][1],
        out=shapes["fc2/kernel"][1],
        dense=head.dense,
        param_dtype=head.param_dtype,
    )
    imported = Imported(weights, rule_list, mlp, lambda m: m(x))
    return {"head.out": mlp.apply({"params": imported.params}, x)}


ENCODERS: dict[str, Callable] = {
    "timm": vision_check(timm_vit),
    "siglip_vision_model": vision_check(hugging_face.hf_siglip_vision),
    "dinov2_with_registers": vision_check(hugging_face.hf_dinov2),
    "siglip_text_model": check_text,
    "llama": check_llama,
}
