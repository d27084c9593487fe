"""Parts against reference outputs: ID-Pruner (a), FiLM tower (b), plain encoders (f), heads (i)."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.models import fusers, heads, llama, pruners, sequence, text, vit
from semanticvla_jax.models.layers import MLP
from semanticvla_jax.weights import authors, hugging_face, layouts
from semanticvla_jax.weights.rules import Rule
from tests.models import goldens
from tests.models.goldens import Golden
from tests.models.smallest import jit


@pytest.fixture
def golden(shared_dir):
    return lambda name: Golden(shared_dir / "goldens", name)


@pytest.mark.parametrize("name", ["a_id_pruner_public", "a_id_pruner_notext_public"])
def test_id_pruner(golden, name):
    case = golden(name)
    c = case.config
    module = pruners.Pruners(
        text_encoder=text.TextTower(
            c["vocab"], c["M"], c["text_hidden"], c["text_layers"], c["text_heads"], c["text_inter"]
        ),
        siglip=pruners.InstructionDrivenPruner(
            width=c["D"], anchors=c["vision_topk"], cues=max(c["text_topk"], 0)
        ),
        dino=pruners.KeepAll(),
    )
    ids, patches = case.inputs["text_ids"], case.inputs["vision_embedding"]

    def run(m, ids, patches, noise):
        words = m.read(ids)
        selection = m.siglip.select(patches, patches[:, :0], words, None)
        noisy = m.siglip.select(patches, patches[:, :0], words, noise)
        return words, selection, noisy

    noise = case.inputs["noise"]
    params = goldens.load(
        case.weights, authors.id_pruner("", ""), module, ids, patches, noise, method=run
    )
    words, *selections = jit(
        lambda p: module.apply({"params": p}, ids, patches, noise, method=run)
    )(params)
    found = {
        "text_last_hidden_state": words.states,
        "text_projected": selections[0].details["words"],
        "attention_mask": words.mask,
    }
    for prefix, s in zip(("", "train_"), selections, strict=True):
        found |= {
            f"{prefix}similarity": s.details["similarity"],
            f"{prefix}l2v_score": s.details["patch_scores"],
            f"{prefix}l2v_index": s.details["kept_patches"],
            f"{prefix}l2v_tokens": s.anchors,
            f"{prefix}v2l_score": s.details["word_scores"],
            f"{prefix}v2l_index": s.details["cue_words"],
            f"{prefix}v2l_tokens": s.cues,
            f"{prefix}out": np.concatenate([s.cues, s.anchors], 1),
        }
    found = {k: v for k, v in found.items() if k in case.outputs}
    assert set(found) == set(case.outputs)
    goldens.check(name, found, case.outputs, 1e-5)


@pytest.mark.parametrize(
    "name", ["b_film_dino_reg4_public", "b_film_dino_noreg_public", "b_null_dino_reg4_public"]
)
def test_film_tower(golden, name):
    case = golden(name)
    c = case.config
    tower = vit.VisionTower(
        image_size=c["img"],
        width=c["dim"],
        depth=c["depth"],
        heads=c["heads"],
        mlp_width=4 * c["dim"],
        patch_embed=vit.PatchEmbed(c["dim"], c["patch"]),
        class_token=True,
        registers=c["reg"],
        position_on_class=not c["no_embed_class"],
        layer_scale=1e-5,
        final_norm=True,
    )
    pruner = pruners.SpatialAggregationPruner(c["dim"], c["depth"], c["queries"], film=c["film"])
    pixels = goldens.images_last(case.inputs["pixel_values"])
    language = case.inputs["average_language_embedding"]
    tower_rules = authors.timm_vit(r"vit\.", "", final_norm=True)
    pruner_rules = [
        Rule("vision_queries", "queries", layouts.first),
        *authors.film(r"vit\.", ""),
    ]
    is_pruner = {n: "queries" in n or ".scale." in n or ".shift." in n for n in case.weights}
    split = [{n: w for n, w in case.weights.items() if is_pruner[n] == kind} for kind in (0, 1)]
    conditions = goldens.load(split[1], pruner_rules, pruner, language, method="condition")

    def run(m, queries, modulations):
        x = m.embed(pixels, queries)
        tokens = [x]
        for i in range(m.depth):
            tokens.append(m.run(tokens[-1], i, i + 1, modulations))
        plain = m.run(m.embed(pixels), 0, m.depth - 1, modulations)
        prefix, _, out = m.split(tokens[-2])
        return {
            "input_tokens": x,
            **{f"block{i}": t for i, t in enumerate(tokens[1:])},
            "out_second_to_last": out,
            "prefix_second_to_last": prefix,
            "out_last": m.split(tokens[-1])[2],
            "out_last_normed": m.split(m.normed(tokens[-1]))[2],
            "out_second_to_last_all_patches": m.split(plain)[1],
        }

    queries, modulations = pruner.apply({"params": conditions}, language, method="condition")
    params = goldens.load(split[0], tower_rules, tower, queries, modulations, method=run)
    found = jit(lambda p: tower.apply({"params": p}, queries, modulations, method=run))(params)
    assert set(found) == set(case.outputs)
    # Block outputs grow to hundreds here: the reference's own f32 noise reaches 2e-5.
    noise = c["f32_vs_f64_maxabs"]
    for key, value in found.items():
        tolerance = max(1e-5, 10 * noise[key])
        goldens.check(f"{name} {key}", {key: value}, case.outputs, tolerance)


@pytest.mark.parametrize(
    "name, rules",
    [
        ("f_timm_dinov2_reg4_public", authors.timm_vit),
        ("f_timm_siglip_vision_public", authors.timm_vit),
        ("f_hf_siglip_vision_public", hugging_face.hf_siglip_vision),
        ("f_hf_dinov2_registers_public", hugging_face.hf_dinov2),
    ],
)
def test_plain_encoders(golden, name, rules):
    case = golden(name)
    c = case.config["config"]
    hugging_face = "hidden_size" in c
    width, depth = (
        (c["hidden_size"], c["num_hidden_layers"]) if hugging_face else (c["dim"], c["depth"])
    )
    dino = "dino" in name
    ratio = c.get("mlp_ratio", 4)
    tower = vit.VisionTower(
        image_size=case.inputs["pixel_values"].shape[-1],
        width=width,
        depth=depth,
        heads=c["num_attention_heads"] if hugging_face else c["heads"],
        mlp_width=c.get("intermediate_size", round(ratio * width)),
        patch_embed=vit.PatchEmbed(width, c["patch_size"] if hugging_face else c["patch"]),
        activation="gelu_tanh" if c.get("hidden_act") == "gelu_pytorch_tanh" else "gelu_exact",
        class_token=dino,
        registers=c.get("num_register_tokens", c.get("reg", 0)),
        position_on_class=dino and hugging_face,
        layer_scale=1e-5 if dino else None,
        final_norm=True,
    )
    pixels = goldens.images_last(case.inputs["pixel_values"])

    def run(m):
        tokens = [m.embed(pixels)]
        for i in range(m.depth):
            tokens.append(m.run(tokens[-1], i, i + 1))
        found = {f"hidden{i}": t for i, t in enumerate(tokens)}
        for i, t in enumerate(tokens[1:]):
            prefix, patches, _ = m.split(t)
            found |= {
                f"block{i}": t,
                f"block{i}_patches": patches,
                f"block{i}_prefix": prefix,
            }
        found["out_second_to_last"] = m.split(tokens[-2])[1]
        found["last_hidden_state"] = found["forward_features_normed"] = m.normed(tokens[-1])
        return found

    rule_list = rules("", "", final_norm=True) if rules is authors.timm_vit else rules("", "")
    params = goldens.load(case.weights, rule_list, tower, method=run)
    found = jit(lambda p: tower.apply({"params": p}, method=run))(params)
    found = {k: v for k, v in found.items() if k in case.outputs}
    assert len(found) >= 4
    goldens.check(name, found, case.outputs, 5e-5 if hugging_face else 1e-5)


def test_siglip_text(golden):
    case = golden("f_hf_siglip_text_public")
    c = case.config["config"]
    module = text.TextTower(
        c["vocab_size"],
        c["max_position_embeddings"],
        c["hidden_size"],
        c["num_hidden_layers"],
        c["num_attention_heads"],
        c["intermediate_size"],
    )
    ids = case.inputs["input_ids"]
    params = goldens.load(case.weights, authors.hf_siglip_text("", ""), module, ids)
    run = jit(lambda p, mask: module.apply({"params": p}, ids, mask))
    found = {
        "nomask_last_hidden_state": run(params, None),
        "masked_last_hidden_state": run(params, ids != 1),
    }
    goldens.check(case.name, found, case.outputs, 1e-5)


def llama_states(module, params, x, mask) -> list:
    """Embeddings and every layer's output; the last one after the final norm."""

    def run(m, x, mask):
        states = [x]
        positions = np.arange(x.shape[1])[None]
        for i in range(m.depth):
            states.append(m.run(states[-1], mask, positions, i, i + 1))
        return [*states[:-1], m.norm(states[-1])]

    return jit(lambda p: module.apply({"params": p}, x, mask, method=run))(params)


def test_llama(golden):
    case = golden("f_hf_llama_public")
    c = case.config["config"]
    ids, valid = case.inputs["input_ids"], case.inputs["attention_mask"] != 0
    arguments = dict(
        vocab_size=c["vocab_size"],
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        mlp_width=c["intermediate_size"],
        rms_epsilon=c["rms_norm_eps"],
        rope_theta=c["rope_theta"],
        lm_head=True,
    )
    mask = sequence.causal_mask(valid, None, 0)
    rule_list = authors.hf_llama("", "", lm_head=True)

    def run(m, ids, mask):
        hidden = m(m.embed(ids), mask)
        return hidden, m.logits(hidden)

    found = []
    for scan in (False, True):
        module = llama.Llama(**arguments, scan=scan)
        params = goldens.load(case.weights, rule_list, module, ids, mask, method=run)
        apply = jit(lambda p, m=module: m.apply({"params": p}, ids, mask, method=run))
        found.append(apply(params))
        if not scan:
            embeddings = case.outputs["hidden0"]
            states = llama_states(module, params, embeddings, mask)
    real = valid[..., None]
    states = {f"hidden{i}": np.where(real, s, 0) for i, s in enumerate(states)}
    expected = {k: np.where(real, v, 0) for k, v in case.outputs.items()}
    goldens.check(case.name, states, expected, 1e-5)
    for hidden, logits in found:
        last = f"hidden{c['num_hidden_layers']}"
        final = {last: np.where(real, hidden, 0), "logits": np.where(real, logits, 0)}
        goldens.check(case.name, final, expected, 1e-5)


def test_norm_epsilons(golden):
    case = golden("f_eps_probe_public")
    c = case.config
    width, n_heads = c["D"], c["heads"]

    def weights(prefix):
        return {n: w for n, w in case.weights.items() if n.startswith(prefix)}

    found = {}
    for name, mlp_width in (("dino", 4 * width), ("siglip", 2 * width)):
        tower = vit.VisionTower(
            c["img"],
            width,
            2,
            n_heads,
            mlp_width,
            vit.PatchEmbed(width, c["patch"]),
            class_token=name == "dino",
            registers=4 * (name == "dino"),
            layer_scale=1e-5 if name == "dino" else None,
        )
        pixels = goldens.images_last(case.inputs[f"{name}.pixel_values"])

        def run(m, pixels):
            first = m.run(m.embed(pixels), 0, 1)
            return [first, m.run(first, 1, 2)]

        rule_list = authors.timm_vit(rf"{name}\.", "")
        params = goldens.load(weights(f"{name}."), rule_list, tower, pixels, method=run)
        blocks = tower.apply({"params": params}, pixels, method=run)
        found |= {f"{name}.block{i}": block for i, block in enumerate(blocks)}
    ids = case.inputs["text.input_ids"]
    module = text.TextTower(30, 6, width, 1, n_heads, 2 * width)
    params = goldens.load(weights("text."), authors.hf_siglip_text(r"text\.", ""), module, ids)
    found["text.last_hidden_state"] = module.apply({"params": params}, ids)
    x = case.inputs["llama.inputs_embeds"]
    mask = sequence.causal_mask(np.ones(x.shape[:2], bool), None, 0)
    module = llama.Llama(30, width, 1, n_heads, 2 * width)
    rule_list = authors.hf_llama(r"llama\.", "", lm_head=False)
    params = goldens.load(
        weights("llama."),
        rule_list,
        module,
        np.zeros(x.shape[:2], int),
        mask,
        method=lambda m, ids, mask: m(m.embed(ids), mask),
    )
    states = llama_states(module, params, x, mask)
    found |= {f"llama.hidden{i}": s for i, s in enumerate(states)}
    module = heads.ResidualMLP(width, 3)
    params = goldens.load(
        weights("head."), authors.residual_mlp(r"head\.", ""), module, case.inputs["head.x"]
    )
    found["head.out"] = module.apply({"params": params}, case.inputs["head.x"])
    assert set(found) == set(case.outputs)
    goldens.check(case.name, found, case.outputs, 1e-5)


@pytest.mark.parametrize("name", ["i_heads_post_libero_public", "i_heads_post_aloha_public"])
def test_heads_projectors_and_masks(golden, name):
    case = golden(name)
    c = case.config
    tokens = {3: heads.SINGLE_ARM, 6: heads.BIMANUAL}[c["num_action_tokens"]]
    head = heads.ResidualMLPHead(tokens)
    states = case.inputs["actions_hidden_states"]
    states = states.reshape(len(states), c["chunk"], len(tokens), -1)

    def weights(prefix):
        return {n: w for n, w in case.weights.items() if n.startswith(prefix)}

    rule_list = authors.action_head(r"action_head\.", "")
    params = goldens.load(weights("action_head"), rule_list, head, states)
    found = {"action": head.apply({"params": params}, states)}
    by_type: dict[str, list[int]] = {}
    for kind, dims in tokens:
        by_type.setdefault(kind, []).extend(dims)
    found |= {kind: found["action"][..., dims] for kind, dims in by_type.items()}

    d = c["llm_dim"]
    mlp = MLP((d, d))
    rule_list = authors.linear(r"proprio_projector\.(fc\d)", r"\1")
    proprio = case.inputs["proprio"]
    params = goldens.load(weights("proprio"), rule_list, mlp, proprio)
    found["proprio_token"] = mlp.apply({"params": params}, proprio)

    fused, cues = case.inputs["fused_feats"], case.inputs["sampler_feats"]
    sparse = fusers.SparseFuser(llm_width=d)
    selections = (
        pruners.Selection(fused[..., :4], cues[:, :0], {}),
        pruners.Selection(fused[..., 4:], cues, {}),
    )
    params = goldens.load(
        weights("projector") | weights("sampler"), authors.projectors("", ""), sparse, *selections
    )
    out = sparse.apply({"params": params}, *selections)
    found |= {"sampler_proj": out[:, : cues.shape[1]], "fused_proj": out[:, cues.shape[1] :]}

    length = c["chunk"] * len(tokens) + 1
    for pads in ("nopad", "pad_0_3_7", "pad_2_2"):
        valid = case.inputs[f"attention_mask_{pads}"] != 0
        mask = sequence.hybrid_mask(valid, valid.sum(1) - length, length)
        found[f"attend_{pads}"] = mask[:, 0]
    goldens.check(name, found, case.outputs, 1e-5)
    assert all((np.asarray(found[k]) == case.outputs[k]).all() for k in found if "attend" in k)
