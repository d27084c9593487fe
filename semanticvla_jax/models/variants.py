"""Variants of a model configuration: every row of the paper's Tables 1, 2 and 4 to 6, and rivals.

A variant takes a complete configuration (of any size; see presets.py) and gives another one. It
swaps parts; no model code knows of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from semanticvla_jax.errors import choose
from semanticvla_jax.models import heads

Config = dict
VARIANTS: dict[str, Callable[[Config], Config]] = {}


def variant(name: str) -> Callable:
    """Registers a function that edits a copy of a configuration."""

    def register(edit: Callable[[Config], None]) -> Callable[[Config], Config]:
        def apply(config: Config) -> Config:
            config = copy.deepcopy(config)
            edit(config)
            return config

        VARIANTS[name] = apply
        return apply

    return register


def apply(name: str, config: Config) -> Config:
    """The configuration of a variant.

    Raises:
      InputError: there is no such variant.
    """
    return choose(VARIANTS, name, "model variant")(config)


@variant("released")
def released(config: Config) -> None:
    """As the authors' code trains it, without its batch-dependent FiLM mean."""


@variant("released_training")
def released_training(config: Config) -> None:
    """The FiLM mean includes right padding, as in the authors' training: only for comparisons."""
    config["pruners"]["pooling"] = {"name": "mean_with_pads"}


@variant("paper")
def paper(config: Config) -> None:
    """As the paper's equations have it where the code differs (specification, section 13).

    Linear text map without noise (eq. 2), zero aggregation tokens, fused features replace patches
    (eq. 8), learned typed placeholders read where they stand, one linear head per token (eq. 11).
    """
    id_pruner = config["pruners"]["siglip"]
    id_pruner |= {"text_layers": 1, "noise": 0.0}
    config["pruners"]["dino"]["query_init"] = "zeros"
    config["fuser"]["dense_fuser"]["name"] = "replacing"
    config["coupler"]["placeholders"] = {"name": "typed"}
    config["coupler"]["first_row"] = {"name": "aligned"}
    tokens = config["head"]["action_tokens"]
    config["head"] = {"name": "per_token", "action_tokens": tokens}


def patches(config: Config) -> int:
    """Patches per image of the SigLIP tower."""
    tower, stem = config["siglip"], config["siglip"]["patch_embed"]
    patch = stem.get("patch", stem.get("last_merge", 1))
    for factor, _, _ in stem.get("stages", ()):
        patch *= factor
    return (tower["image_size"] // patch) ** 2


def keep_one_in(ratio: int) -> Callable[[Config], None]:
    """One anchor and one aggregation token for `ratio` patches; cues stay."""

    def edit(config: Config) -> None:
        kept = patches(config) // ratio
        config["pruners"]["siglip"]["anchors"] = kept
        config["pruners"]["dino"]["queries"] = kept

    return edit


# Table 5; 8 is SemanticVLA's own ratio, 16 that of SemanticVLA-Lite.
for _ratio in (4, 8, 16, 32):
    variant(f"r{_ratio}")(keep_one_in(_ratio))
variant("lite")(keep_one_in(16))


def _place(config: Config, siglip: str, dino: str) -> None:
    own = {"id": config["pruners"]["siglip"], "sa": config["pruners"]["dino"]}
    config["pruners"]["siglip"] = copy.deepcopy(own[siglip])
    config["pruners"]["dino"] = copy.deepcopy(own[dino])


@variant("sa_siglip_id_dino")
def sa_siglip_id_dino(config: Config) -> None:
    """Table 4: the pruners in each other's place."""
    _place(config, "sa", "id")


@variant("id_both")
def id_both(config: Config) -> None:
    """Table 4: ID-Pruner at both towers; cues of both go to the language model."""
    _place(config, "id", "id")


@variant("sa_both")
def sa_both(config: Config) -> None:
    """Table 4: SA-Pruner at both towers; no words are read, no cues."""
    _place(config, "sa", "sa")
    config["pruners"].pop("text_encoder")


@variant("slime")
def slime(config: Config) -> None:
    """Table 5: SliME-style compression to the same number of tokens, without cues."""
    anchors = config["pruners"]["siglip"]["anchors"] + config["pruners"]["siglip"]["cues"]
    for tower, name in (("siglip", "routed_queries"), ("dino", "queries")):
        common = {"heads": config[tower]["heads"], "anchors": anchors}
        config["pruners"][tower] = {"name": name, **common}


@variant("fastv")
def fastv(config: Config) -> None:
    """Table 5: FastV-style; all patches enter the decoder, which drops them behind layer 2.

    As many stay as SemanticVLA passes on.
    """
    id_pruner = config["pruners"]["siglip"]
    kept = (id_pruner["anchors"] + id_pruner["cues"]) / patches(config)
    _keep_all(config)
    config["llm"] |= {"name": "fastv_llama", "keep": kept}


def _keep_all(config: Config) -> None:
    config["pruners"] = {
        "name": "per_tower",
        "siglip": {"name": "keep_all"},
        "dino": {"name": "keep_all"},
    }


@variant("no_fuser")
def no_fuser(config: Config) -> None:
    """Table 6: no exchange between the towers, whose second to last blocks are used then."""
    config["fuser"]["dense_fuser"]["pairs"] = ()
    for tower in ("siglip", "dino"):
        config[tower]["feature_layer"] = -2


@variant("no_coupler")
def no_coupler(config: Config) -> None:
    """Table 6: one token per action dimension and one head for all of them."""
    dims = sum(len(dims) for _, dims in config["head"]["action_tokens"])
    config["head"] |= {
        "name": "residual_mlp",
        "action_tokens": heads.one_token_per_dimension(dims),
    }
    config["head"].pop("hidden", None)


@variant("no_fuser_no_coupler")
def no_fuser_no_coupler(config: Config) -> None:
    """Table 6: neither."""
    config.update(no_coupler(no_fuser(config)))


@variant("flow")
def flow(config: Config) -> None:
    """A flow-matching head on the same action tokens."""
    tokens = config["head"]["action_tokens"]
    width = min(512, config["llm"]["width"])
    config["head"] = {"name": "flow", "action_tokens": tokens, "width": width}


def _plain_vision(config: Config) -> None:
    """OpenVLA's: second to last blocks of both towers, all patches, channels side by side."""
    no_fuser_parts = no_fuser(config)
    config.update(no_fuser_parts)
    _keep_all(config)


@variant("openvla_oft")
def openvla_oft(config: Config) -> None:
    """OpenVLA-OFT: parallel, bidirectional everywhere, a token per dimension, L1."""
    _plain_vision(config)
    config.update(no_coupler(config))
    config["coupler"]["mask"] = {"name": "full"}


@variant("openvla_oft_film")
def openvla_oft_film(config: Config) -> None:
    """OpenVLA-OFT with FiLM in both towers (OFT+)."""
    config.update(openvla_oft(config))
    for tower in ("siglip", "dino"):
        config["pruners"][tower] = {"name": "modulated_keep_all"}


def _words(config: Config, decoding: dict) -> None:
    _plain_vision(config)
    dims = sum(len(dims) for _, dims in config["head"]["action_tokens"])
    config["coupler"] = {
        "name": "words",
        "chunk": config["coupler"]["chunk"],
        "decoding": decoding,
    }
    # Llama's last 256 words are given up; a vocabulary without spare ones gets 256 more.
    spare = config["llm"]["vocab_size"] == 32064
    config["llm"] |= {
        "vocab_size": config["llm"]["vocab_size"] + (0 if spare else 256),
        "lm_head": True,
    }
    config["head"] = {
        "name": "bins",
        "action_tokens": heads.one_token_per_dimension(dims),
        "padding": 64 if spare else 0,
    }


@variant("openvla")
def openvla(config: Config) -> None:
    """OpenVLA: 256-bin words, one after another. Natively K = 1: see robots.py."""
    _words(config, {"name": "autoregressive"})


@variant("pd_vla")
def pd_vla(config: Config) -> None:
    """PD-VLA: the same model and answer, all words at once until none changes."""
    _words(config, {"name": "fixed_point"})
