"""Names and shapes of published checkpoints, written out from their architectures, not from rules.

`tests/weights/test_full_size.py` checks these lists against the reference weights' own names.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Outline:
    """An array without values."""

    shape: tuple[int, ...]
    dtype: type = np.float32

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("planning must not read values")


@dataclasses.dataclass(frozen=True)
class Tower:
    depth: int
    width: int
    mlp: int
    patch: int = 14
    patches: int = 256
    registers: int = 0
    class_token: bool = False
    pool: bool = False


DINOV2_L = Tower(24, 1024, 4096, registers=4, class_token=True)
SIGLIP_SO400M = Tower(27, 1152, 4304, pool=True)


def linear(name: str, out: int, width: int, *, bias: bool = True, rank: int = 0) -> dict:
    """torch Linear; with `rank`, wrapped by a PEFT adapter."""
    base = f"{name}.base_layer" if rank else name
    shapes = {f"{base}.weight": (out, width)}
    if bias:
        shapes[f"{base}.bias"] = (out,)
    if rank:
        shapes[f"{name}.lora_A.default.weight"] = (rank, width)
        shapes[f"{name}.lora_B.default.weight"] = (out, rank)
    return shapes


def norm(name: str, width: int, *, bias: bool = True) -> dict:
    return {f"{name}.weight": (width,)} | ({f"{name}.bias": (width,)} if bias else {})


def timm(
    prefix: str,
    tower: Tower,
    *,
    scale: str = "gamma",
    wrapper: str = "",
    film: int = 0,
    rank: int = 0,
) -> dict:
    """timm's vision transformer; `scale` names LayerScale's parameter, `film` is a width."""
    width, shapes = tower.width, {}
    if tower.class_token:
        shapes[f"{prefix}cls_token"] = (1, 1, width)
    if tower.registers:
        shapes[f"{prefix}reg_token"] = (1, tower.registers, width)
    shapes[f"{prefix}pos_embed"] = (1, tower.patches, width)
    shapes[f"{prefix}patch_embed.proj.weight"] = (width, 3, tower.patch, tower.patch)
    shapes[f"{prefix}patch_embed.proj.bias"] = (width,)
    for i in range(tower.depth):
        block = f"{prefix}blocks.{i}.{wrapper}"
        shapes |= norm(f"{block}norm1", width) | norm(f"{block}norm2", width)
        shapes |= linear(f"{block}attn.qkv", 3 * width, width, rank=rank)
        shapes |= linear(f"{block}attn.proj", width, width, rank=rank)
        shapes |= linear(f"{block}mlp.fc1", tower.mlp, width, rank=rank)
        shapes |= linear(f"{block}mlp.fc2", width, tower.mlp, rank=rank)
        if tower.class_token:
            shapes |= {f"{block}ls1.{scale}": (width,), f"{block}ls2.{scale}": (width,)}
        if film:
            for name in ("scale", "shift"):
                shapes |= linear(f"{prefix}blocks.{i}.{name}", width, film)
    shapes |= norm(f"{prefix}norm", width)
    if tower.pool:
        pool = f"{prefix}attn_pool."
        shapes[f"{pool}latent"] = (1, 1, width)
        shapes |= norm(f"{pool}norm", width)
        for name, out, inner in (
            ("q", width, width),
            ("kv", 2 * width, width),
            ("proj", width, width),
            ("mlp.fc1", tower.mlp, width),
            ("mlp.fc2", width, tower.mlp),
        ):
            shapes |= linear(f"{pool}{name}", out, inner, rank=rank)
    return shapes


def llama(prefix: str, *, depth=32, width=4096, mlp=11008, vocabulary=32064, rank: int = 0) -> dict:
    """LlamaForCausalLM."""
    shapes = {f"{prefix}model.embed_tokens.weight": (vocabulary, width)}
    for i in range(depth):
        layer = f"{prefix}model.layers.{i}."
        for name in "qkvo":
            key = f"{layer}self_attn.{name}_proj"
            shapes |= linear(key, width, width, bias=False, rank=rank)
        for name, out, inner in (("gate", mlp, width), ("up", mlp, width), ("down", width, mlp)):
            shapes |= linear(f"{layer}mlp.{name}_proj", out, inner, bias=False, rank=rank)
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes |= norm(f"{layer}{name}", width, bias=False)
    shapes |= norm(f"{prefix}model.norm", width, bias=False)
    return shapes | linear(f"{prefix}lm_head", vocabulary, width, bias=False, rank=rank)


def siglip_text(prefix: str, *, tower=SIGLIP_SO400M, vocabulary=32000, length=64) -> dict:
    """Hugging Face's SiglipTextModel."""
    width, model = tower.width, f"{prefix}text_model."
    shapes = {
        f"{model}embeddings.token_embedding.weight": (vocabulary, width),
        f"{model}embeddings.position_embedding.weight": (length, width),
    }
    shapes |= _siglip_layers(model, tower)
    return shapes | norm(f"{model}final_layer_norm", width) | linear(f"{model}head", width, width)


def siglip_vision(prefix: str, *, tower=SIGLIP_SO400M) -> dict:
    """Hugging Face's SiglipVisionModel."""
    width, model = tower.width, f"{prefix}vision_model."
    shapes = {
        f"{model}embeddings.patch_embedding.weight": (width, 3, tower.patch, tower.patch),
        f"{model}embeddings.patch_embedding.bias": (width,),
        f"{model}embeddings.position_embedding.weight": (tower.patches, width),
    }
    shapes |= _siglip_layers(model, tower) | norm(f"{model}post_layernorm", width)
    head = f"{model}head."
    shapes |= {
        f"{head}probe": (1, 1, width),
        f"{head}attention.in_proj_weight": (3 * width, width),
        f"{head}attention.in_proj_bias": (3 * width,),
    }
    shapes |= linear(f"{head}attention.out_proj", width, width) | norm(f"{head}layernorm", width)
    shapes |= linear(f"{head}mlp.fc1", tower.mlp, width)
    return shapes | linear(f"{head}mlp.fc2", width, tower.mlp)


def _siglip_layers(prefix: str, tower: Tower) -> dict:
    shapes = {}
    for i in range(tower.depth):
        layer = f"{prefix}encoder.layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear(f"{layer}self_attn.{name}", tower.width, tower.width)
        for name in ("layer_norm1", "layer_norm2"):
            shapes |= norm(f"{layer}{name}", tower.width)
        shapes |= linear(f"{layer}mlp.fc1", tower.mlp, tower.width)
        shapes |= linear(f"{layer}mlp.fc2", tower.width, tower.mlp)
    return shapes


def dinov2_hf(*, tower=DINOV2_L) -> dict:
    """Hugging Face's Dinov2WithRegistersModel; its table has a row for the class token."""
    width, embeddings = tower.width, "embeddings."
    shapes = {
        f"{embeddings}cls_token": (1, 1, width),
        f"{embeddings}mask_token": (1, width),
        f"{embeddings}register_tokens": (1, tower.registers, width),
        f"{embeddings}position_embeddings": (1, 1 + tower.patches, width),
        f"{embeddings}patch_embeddings.projection.weight": (width, 3, tower.patch, tower.patch),
        f"{embeddings}patch_embeddings.projection.bias": (width,),
    }
    for i in range(tower.depth):
        layer = f"encoder.layer.{i}."
        for name in ("query", "key", "value"):
            shapes |= linear(f"{layer}attention.attention.{name}", width, width)
        shapes |= linear(f"{layer}attention.output.dense", width, width)
        shapes |= norm(f"{layer}norm1", width) | norm(f"{layer}norm2", width)
        shapes |= {f"{layer}layer_scale{j}.lambda1": (width,) for j in (1, 2)}
        shapes |= linear(f"{layer}mlp.fc1", tower.mlp, width)
        shapes |= linear(f"{layer}mlp.fc2", width, tower.mlp)
    return shapes | norm("layernorm", width)


def openvla(*, dino=DINOV2_L, siglip=SIGLIP_SO400M, **language) -> dict:
    """OpenVLA-7B."""
    fused, width = dino.width + siglip.width, language.get("width", 4096)
    return {
        **timm("vision_backbone.featurizer.", dino, scale="scale_factor"),
        **timm("vision_backbone.fused_featurizer.", siglip),
        **linear("projector.fc1", 4 * fused, fused),
        **linear("projector.fc2", width, 4 * fused),
        **linear("projector.fc3", width, width),
        **llama("language_model.", **language),
    }


def semanticvla(
    *,
    dino=DINOV2_L,
    siglip=SIGLIP_SO400M,
    text=SIGLIP_SO400M,
    text_vocabulary=32000,
    text_length=64,
    queries=32,
    pairs=3,
    rank=64,
    state=8,
    action={"trans": 3, "rot": 3, "grip": 1},  # noqa: B006 (never modified)
    tokens=3,
    **language,
) -> dict:
    """The authors' whole model with unmerged adapters, as one state dict."""
    fused, width = dino.width + siglip.width, language.get("width", 4096)
    backbone = "vision_backbone."
    towers = f"{backbone}vision_backbone."
    shapes = {
        f"{backbone}vision_queries": (1, queries, dino.width),
        **timm(
            f"{towers}featurizer.",
            dino,
            scale="scale_factor",
            wrapper="block.",
            film=width,
            rank=rank,
        ),
        **timm(f"{towers}fused_featurizer.", siglip, wrapper="block.", rank=rank),
    }
    sampler = f"{backbone}fused_featurizer_mm_sampler."
    shapes |= siglip_text(
        f"{sampler}text_encoder.", tower=text, vocabulary=text_vocabulary, length=text_length
    )
    shapes |= linear(f"{sampler}text_post_projector.0", siglip.width, text.width)
    shapes |= linear(f"{sampler}text_post_projector.2", siglip.width, siglip.width)
    for entry in range(2 * pairs):
        proj = f"{backbone}cross_vit_model.aggregate_proj.{entry}"
        shapes |= linear(f"{proj}.0", fused, fused)
        shapes |= linear(f"{proj}.2", (dino, siglip)[entry % 2].width, fused)
    shapes |= linear("projector.fc1", 4 * fused, fused)
    shapes |= linear("projector.fc2", width, 4 * fused) | linear("projector.fc3", width, width)
    shapes |= linear("fused_featurizer_sampler_proj.fc1", width, siglip.width)
    shapes |= linear("fused_featurizer_sampler_proj.fc2", width, width)
    shapes |= llama("language_model.", rank=rank, **language)
    shapes |= linear("proprio_projector.fc1", width, state)
    shapes |= linear("proprio_projector.fc2", width, width)
    for kind, out in action.items():
        shapes |= residual_mlp(f"action_head.model_{kind}.", tokens * width, width, out)
    return shapes


def residual_mlp(prefix: str, inner: int, width: int, out: int) -> dict:
    """MLPResNet of two blocks."""
    shapes = norm(f"{prefix}layer_norm1", inner) | linear(f"{prefix}fc1", width, inner)
    for i in range(2):
        ffn = f"{prefix}mlp_resnet_blocks.{i}.ffn."
        shapes |= norm(f"{ffn}0", width) | linear(f"{ffn}1", width, width)
    return shapes | norm(f"{prefix}layer_norm2", width) | linear(f"{prefix}fc2", out, width)


def big_vision(
    *, image=SIGLIP_SO400M, text=SIGLIP_SO400M, heads=16, vocabulary=32000, length=64
) -> dict:
    """SigLIP's two towers, blocks one by one, without `params/`."""
    shapes = {
        "img/embedding/kernel": (image.patch, image.patch, 3, image.width),
        "img/embedding/bias": (image.width,),
        "img/pos_embedding": (1, image.patches, image.width),
        **_flax_blocks("img/Transformer/", image, heads),
        "img/MAPHead_0/probe": (1, 1, image.width),
        **_flax_attention("img/MAPHead_0/", image.width, heads),
        **_flax_mlp("img/MAPHead_0/", image),
        **{f"img/MAPHead_0/LayerNorm_0/{n}": (image.width,) for n in ("scale", "bias")},
        "txt/Embed_0/embedding": (vocabulary, text.width),
        "txt/pos_embedding": (1, length, text.width),
        **_flax_blocks("txt/Encoder_0/", text, heads),
        "txt/head/kernel": (text.width, text.width),
        "txt/head/bias": (text.width,),
        "t": (1,),
        "b": (1,),
    }
    return shapes


def _flax_blocks(prefix: str, tower: Tower, heads: int) -> dict:
    shapes = {f"{prefix}encoder_norm/{n}": (tower.width,) for n in ("scale", "bias")}
    for i in range(tower.depth):
        block = f"{prefix}encoderblock_{i}/"
        for j in range(2):
            shapes |= {f"{block}LayerNorm_{j}/{n}": (tower.width,) for n in ("scale", "bias")}
        shapes |= _flax_attention(block, tower.width, heads) | _flax_mlp(block, tower)
    return shapes


def _flax_attention(prefix: str, width: int, heads: int) -> dict:
    attention, each = f"{prefix}MultiHeadDotProductAttention_0/", width // heads
    shapes = {f"{attention}out/kernel": (heads, each, width), f"{attention}out/bias": (width,)}
    for name in ("query", "key", "value"):
        shapes[f"{attention}{name}/kernel"] = (width, heads, each)
        shapes[f"{attention}{name}/bias"] = (heads, each)
    return shapes


def _flax_mlp(prefix: str, tower: Tower) -> dict:
    mlp = f"{prefix}MlpBlock_0/"
    return {
        f"{mlp}Dense_0/kernel": (tower.width, tower.mlp),
        f"{mlp}Dense_0/bias": (tower.mlp,),
        f"{mlp}Dense_1/kernel": (tower.mlp, tower.width),
        f"{mlp}Dense_1/bias": (tower.width,),
    }


def outlines(shapes: dict, dtype=np.float32) -> dict[str, Outline]:
    return {name: Outline(tuple(shape), dtype) for name, shape in shapes.items()}


def random_arrays(shapes: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """Values for small ones."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
