"""The assembled model against reference outputs: fuser (c), backbone (d), whole (e), LoRA (g)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from semanticvla_jax.models.build import build
from semanticvla_jax.models.sequence import language_ids
from semanticvla_jax.weights import authors, rules
from tests.models import goldens
from tests.models.goldens import Golden
from tests.models.smallest import jit


@pytest.fixture
def golden(shared_dir):
    return lambda name: Golden(shared_dir / "goldens", name)


def backbone_rules() -> list:
    return authors.vision_backbone("")


@pytest.mark.parametrize("name", ["c_cross_vit_public", "c_cross_vit_lastpair_public"])
def test_dense_fuser(golden, name):
    case = golden(name)
    c = case.config
    changes = {
        tower: goldens.tower(c[tower], c["img"], final_norm=True) for tower in ("dino", "siglip")
    }
    model = build(goldens.model(c, **changes))
    dino, siglip = case.pixels()
    language = case.inputs["average_language_embedding"][:, None]

    def run(m, language):
        conditions = {
            "dino": m.pruners.condition(language, jnp.ones(language.shape[:2], bool))["dino"],
            "siglip": (None, None),
        }
        features, exchanges = m.encode({"dino": dino, "siglip": siglip}, conditions)
        queries, patches = features["dino"][1], features["siglip"][0]
        found = {
            "dino_queries_last": queries,
            "siglip_patches_last": patches,
            "dino_queries_last_normed": m.dino.normed(queries),
            "siglip_patches_last_normed": m.siglip.normed(patches),
        }
        for i, exchange in enumerate(exchanges):
            for tower, (before, after) in exchange.items():
                found |= {
                    f"img0/pair{i}/{tower}_before": before,
                    f"img0/pair{i}/{tower}_after": after,
                }
        return found

    towers = r"vision_backbone\."
    rule_list = [
        *authors.timm_vit(rf"{towers}featurizer\.", "dino/", final_norm=True),
        *authors.timm_vit(rf"{towers}fused_featurizer\.", "siglip/", final_norm=True),
        *backbone_rules(),
    ]
    params = goldens.load(case.weights, rule_list, model, language, method=run)
    found = jit(lambda p: model.apply({"params": p}, language, method=run))(params)
    assert set(found) == set(case.outputs)
    noise = c["f32_vs_f64_maxabs"]
    for key, value in found.items():
        goldens.check(f"{name} {key}", {key: value}, case.outputs, max(5e-5, 10 * noise[key]))


@pytest.mark.parametrize("name", ["d_backbone_2img_public", "d_backbone_nocross_1img_public"])
def test_backbone(golden, name):
    case = golden(name)
    c = case.config
    model = build(goldens.model(c))
    dino, siglip = case.pixels()
    language, text_ids = case.inputs["language_embeddings"], case.inputs["text_ids"]

    def run(m, language, text_ids):
        valid = jnp.ones(language.shape[:2], bool)
        conditions = m.pruners.condition(language, valid)
        features, _ = m.encode({"dino": dino, "siglip": siglip}, conditions)
        return features, m.pruners.select(features, text_ids)

    rule_list = backbone_rules()
    if not c["cross"]:
        # The last block is never run: features are taken one earlier.
        unused = r"vision_backbone\.(featurizer\.blocks\.{}|fused_featurizer\.blocks\.{})\..*"
        unused = unused.format(c["dino"]["depth"] - 1, c["siglip"]["depth"] - 1)
        rule_list = [rules.ignore(unused, "behind the feature layer"), *rule_list]
    params = goldens.load(case.weights, rule_list, model, language, text_ids, method=run)
    features, selected = jit(lambda p: model.apply({"params": p}, language, text_ids, method=run))(
        params
    )
    images = c["n_images"]

    def image(x, i):
        return x.reshape(-1, images, *x.shape[1:])[:, i]

    found = {}
    for i in range(images):
        cues, anchors = selected["siglip"].cues, selected["siglip"].anchors
        found |= {
            f"img{i}/dino_tokens": image(features["dino"][1], i),
            f"img{i}/siglip_patches": image(features["siglip"][0], i),
            f"img{i}/similarity": image(selected["siglip"].details["similarity"], i),
            f"img{i}/out_dino": image(selected["dino"].anchors, i),
            f"img{i}/out_siglip": image(jnp.concatenate([cues, anchors], 1), i),
        }
    found = {k: v for k, v in found.items() if k in case.outputs}
    assert set(found) == set(case.outputs)
    goldens.check(name, found, case.outputs, 5e-5)


def test_plain_openvla_backbone(golden):
    case = golden("d_openvla_plain_2img_public")
    c = case.config
    keep_all = {"name": "per_tower", "siglip": {"name": "keep_all"}, "dino": {"name": "keep_all"}}
    llm = {"llm": {"hidden_size": case.weights["projector.fc3.weight"].shape[0]}}
    config = {**c, "llm": {**llm["llm"], "num_attention_heads": 1}}
    config |= {
        "fused_featurizer_cfg": {"vision_topk": 1, "text_topk": 1},
        "featurizer_cfg": {"num_vision_queries": 1, "use_film": False},
        "text": dict.fromkeys(("vocab", "M", "hidden", "layers", "heads", "inter"), 1),
    }
    model = build(goldens.model(config, pruners=keep_all))
    dino, siglip = case.pixels()

    def run(m, ids):
        none = (None, None)
        features, _ = m.encode({"dino": dino, "siglip": siglip}, {"dino": none, "siglip": none})
        return features, m.fuser.merge(**m.pruners.select(features, ids))

    ids = jnp.ones((2, 1), int)
    depth = c["dino"]["depth"] - 1, c["siglip"]["depth"] - 1
    unused = r"vision_backbone\.(featurizer\.blocks\.{}|fused_featurizer\.blocks\.{})\..*"
    rule_list = [
        rules.ignore(unused.format(*depth), "behind the feature layer"),
        *backbone_rules(),
        *authors.projectors("", "fuser/sparse_fuser/"),
    ]
    params = goldens.load(case.weights, rule_list, model, ids, method=run)
    features, projected = jit(lambda p: model.apply({"params": p}, ids, method=run))(params)
    found = {}
    for i in range(2):
        for name, x in (
            ("dino_patches", features["dino"][0]),
            ("siglip_patches", features["siglip"][0]),
            ("projected", projected),
        ):
            found[f"img{i}/{name}"] = x.reshape(-1, 2, *x.shape[1:])[:, i]
    assert set(found) == set(case.outputs)
    goldens.check(case.name, found, case.outputs, 5e-5)


def training_batch(case: Golden) -> dict:
    """Authors' inputs [BOS, prompt, action ids, stop, pads] -> our batch."""
    ids, mask = case.inputs["input_ids"], case.inputs["attention_mask"] != 0
    c = case.config
    chunk, dims = case.inputs["ground_truth_actions"].shape[1:]
    tokens = chunk * c["num_action_tokens"]
    size = ids.shape[1] - tokens - 2
    lengths = mask.sum(1) - tokens - 2
    prompt = np.full((len(ids), size), 32000)
    for row, (source, length) in enumerate(zip(ids, lengths, strict=True)):
        prompt[row, :length] = source[1 : 1 + length]
    return {
        "state": case.inputs["proprio_normalized"],
        "prompt_ids": prompt.astype(np.int32),
        "prompt_mask": np.arange(size)[None] < lengths[:, None],
        "text_ids": case.inputs["instruction_ids"].astype(np.int32),
        "actions": case.inputs["ground_truth_actions"],
    }


def whole_model(case: Golden, **changes):
    """(model, parameters, batch, function params, batch, train -> outputs)."""
    model = build({**goldens.model(case.config), **changes})
    dino, siglip = case.pixels()
    batch = training_batch(case)
    adapted = bool(changes.get("lora"))
    rule_list = authors.semanticvla(lm_head=adapted)
    if adapted:
        # Adapters of heads that are never run, and of the vocabulary head, which gets no gradient.
        rule_list = [rules.ignore(r".*attn_pool.*lora.*", "never run"), *rule_list]

    def apply(params, batch, dino, siglip, train=False):
        return model.apply({"params": params}, dino, siglip, batch, train, method="from_pixels")

    params = goldens.load(case.weights, rule_list, model, dino, siglip, batch, method="from_pixels")
    return model, params, batch, (dino, siglip), apply, rule_list


def l1(params, apply, batch, pixels, train=False):
    actions, details = apply(params, batch, *pixels, train)
    return jnp.abs(actions - batch["actions"]).mean(), (actions, details)


@pytest.mark.parametrize("name", ["e_libero_public", "e_aloha_public"])
def test_whole_model(golden, name):
    case = golden(name)
    c = case.config
    model, params, batch, pixels, apply, rule_list = whole_model(case)

    def states(params, sequence):
        """Embeddings, and the input of every later layer; the last after the final norm."""
        return model.apply(
            {"params": params}, sequence, method=lambda m, s: _decoder_states(m.llm, s)
        )

    def forward(params, batch, pixels):
        loss, (actions, details) = l1(params, apply, batch, pixels)
        ids, valid = language_ids(
            batch["prompt_ids"], batch["prompt_mask"], model.coupler.bos_id, model.coupler.stop_id
        )
        language = model.apply(
            {"params": params}, ids, method=lambda m, ids: m.llm.embed(ids)
        ).mean(1)
        return loss, (actions, details, language, states(params, details["sequence"]))

    run = jit(jax.value_and_grad(forward, has_aux=True))
    (loss, (actions, details, language, hidden)), grads = run(params, batch, pixels)
    sequence = details["sequence"]
    difference = np.abs(np.asarray(actions) - batch["actions"])
    found = {
        "language_embeddings_mean": language,
        "vision_tokens": details["image_tokens"].reshape(
            *case.outputs["train/vision_tokens"].shape
        ),
        "attend": sequence.mask[:, 0],
        "multimodal_embeddings": sequence.embeddings,
        "multimodal_attention_mask": sequence.valid,
        "actions_hidden_states": details["action_states"].reshape(
            *case.outputs["train/actions_hidden_states"].shape
        ),
        "predicted_actions": actions,
        "l1_loss": loss,
        "curr_action_l1": difference[:, 0].mean(),
        "next_actions_l1": difference[:, 1:].mean(),
        **{f"hidden{i}": h for i, h in enumerate(hidden)},
    }
    found = {f"train/{k}": v for k, v in found.items() if f"train/{k}" in case.outputs}
    # Pad rows of the decoder are never read.
    real = np.asarray(sequence.valid)[..., None]
    last = f"train/hidden{c['llm']['num_hidden_layers']}"
    expected = {**case.outputs, last: case.outputs[last] * real}
    found[last] = found[last] * real
    goldens.check(f"{name} train", found, expected, 5e-5)
    assert (np.asarray(sequence.mask[:, 0]) == case.outputs["train/attend"]).all()
    check_gradients(name, case, grads, rule_list)

    one = {k: v[:1] for k, v in batch.items()}
    length = int(one["prompt_mask"].sum())
    one |= {k: one[k][:, :length] for k in ("prompt_ids", "prompt_mask")}
    one_pixels = tuple(p[:1] for p in pixels)
    _, (actions, details, language, hidden) = jit(forward)(params, one, one_pixels)
    sequence = details["sequence"]
    found = {
        "predict/language_embeddings_mean": language,
        "predict/vision_tokens": details["image_tokens"].reshape(
            *case.outputs["predict/vision_tokens"].shape
        ),
        "predict/attend": sequence.mask[:, 0],
        "predict/multimodal_embeddings": sequence.embeddings,
        "predict/multimodal_attention_mask": sequence.valid,
        "predict/actions_hidden_states": details["action_states"].reshape(
            *case.outputs["predict/actions_hidden_states"].shape
        ),
        "predict/normalized_actions": actions,
        "train_nopad_b0/predicted_actions": actions,
        **{f"predict/hidden{i}": h for i, h in enumerate(hidden)},
    }
    found = {k: v for k, v in found.items() if k in case.outputs}
    goldens.check(f"{name} predict", found, case.outputs, 5e-5)


def _decoder_states(llm, sequence) -> list:
    states = [sequence.embeddings]
    positions = np.arange(states[0].shape[1])[None]
    for i in range(llm.depth):
        states.append(llm.run(states[-1], sequence.mask, positions, i, i + 1))
    return [*states[:-1], llm.norm(states[-1])]


def check_gradients(name: str, case: Golden, grads: dict, rule_list) -> None:
    """Norms of every trained parameter's gradient, and whole gradients where the case has them."""
    grads = {k: np.asarray(v) for k, v in flatten_dict(grads, sep="/").items()}
    worst = 0.0
    for source, norm in case.config["grad_norms"].items():
        located = rules.locate(source, rule_list)
        assert (located is None) == (norm is None), source
        if norm is not None:
            found = float(np.linalg.norm(gradient(grads, *located)))
            worst = max(worst, abs(found - norm) / max(norm, 1e-2))
            assert abs(found - norm) <= 2e-4 * max(norm, 1e-2), (source, found, norm)
    print(f"{name}: {len(case.config['grad_norms'])} gradient norms, worst {worst:.1e} relative")
    whole = {k.removeprefix("grad/"): v for k, v in case.outputs.items() if k.startswith("grad/")}
    for source, expected in whole.items():
        target, rule = rules.locate(f"vla.{source}", rule_list)
        np.testing.assert_allclose(grads[target], rule.layout(expected), atol=5e-5, rtol=1e-4)


def gradient(grads: dict, target: str, rule: rules.Rule) -> np.ndarray:
    """Our gradient of what one foreign parameter became."""
    value = grads[target]
    if target.endswith("embed_tokens/embedding"):
        return np.delete(value, 32000, axis=0)  # torch's padding_idx gets no gradient
    if "text_encoder" in target and "/qkv/" in target:
        return np.split(value, 3, axis=-1)[rule.part]
    return value


def test_lora_training(golden):
    case = golden("g_lora_train_public")
    c = case.config
    llm = {**goldens.model(c)["llm"], "lm_head": True}
    lora = {"rank": c["r"], "alpha": c["alpha"]}
    _, params, batch, pixels, apply, rule_list = whole_model(case, llm=llm, lora=lora)
    trained = {
        rules.locate(n, rule_list)[0]: p["trainable"]
        for n, p in c["params"].items()
        if rules.locate(n, rule_list) is not None
    }
    flat = flatten_dict(params, sep="/")
    train = {k: v for k, v in flat.items() if trained[k]}
    frozen = {k: v for k, v in flat.items() if not trained[k]}
    # c["n_trainable"] also counts the adapters of attn_pool, which this model does not own.
    pool = sum(
        np.prod(p["shape"]) for n, p in c["params"].items() if "pool" in n and p["trainable"]
    )
    assert sum(v.size for v in train.values()) + pool == c["n_trainable"]
    a = c["adamw"]
    optimizer = optax.adamw(a["lr"], *a["betas"], eps=a["eps"], weight_decay=a["weight_decay"])

    def loss(train, noise, noisy):
        tree = rules.unflatten_dict({**train, **frozen}, sep="/")
        return l1(tree, apply, {**batch, "pruner_noise": noise}, pixels, noisy)

    @jit
    def step(train, state, noise):
        (value, (actions, _)), grads = jax.value_and_grad(loss, has_aux=True)(train, noise, True)
        updates, state = optimizer.update(grads, state, train)
        return optax.apply_updates(train, updates), state, value, actions, grads

    evaluate = jit(lambda train: loss(train, None, False))
    found, state = {}, optimizer.init(train)
    found["eval_loss_before"], (found["eval_pred_before"], _) = evaluate(train)
    for i in range(c["steps"]):
        # The case's noise is [step, image, batch, ...].
        noise = jnp.asarray(case.inputs["noise"][i]).swapaxes(0, 1)
        train, state, value, actions, grads = step(train, state, noise)
        found |= {f"train_loss_step{i}": value, f"train_pred_step{i}": actions}
        for source, norm in c["grad_norms"][i].items():
            located = rules.locate(source, rule_list)
            if located:
                mine = float(np.linalg.norm(grads[located[0]]))
                assert abs(mine - norm) <= 2e-4 * max(norm, 1e-2), (i, source, mine, norm)
    found["eval_loss_after"], (found["eval_pred_after"], _) = evaluate(train)
    goldens.check(case.name, found, case.outputs, 1e-4)
    after = {}
    for key, expected in case.outputs.items():
        if key.startswith("after/"):
            target, rule = rules.locate(key.removeprefix("after/"), rule_list)
            after[key] = rule.layout(expected), train[target]
    expected = {k: v[0] for k, v in after.items()}
    goldens.check(f"{case.name} after", {k: v[1] for k, v in after.items()}, expected, 1e-4)
