"""Rules that are easy to get wrong (section 14 of the specification), each as one swapped part.

A trap swaps a part through the model's configuration, or one function of the product, while its
cases run. `reference` names the same change in a case's `<name>_mutations.json`, which tells how
far it moved the authors' actions.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from unittest import mock

from configs import options
from semanticvla_jax.data import images
from semanticvla_jax.data.normalization import Statistics
from semanticvla_jax.models import build, heads, llama_layer, pruners
from semanticvla_jax.models.coupler import ActionCoupler
from semanticvla_jax.models.fusers import HierarchicalFuser, ResidualDenseFuser, SparseFuser
from semanticvla_jax.models.layers import Block
from semanticvla_jax.models.lora import LoRA
from semanticvla_jax.models.semanticvla import SemanticVLA
from semanticvla_jax.models.text import TextTower
from semanticvla_jax.models.vit import VisionTower
from semanticvla_jax.robots import BinaryGripper
from semanticvla_jax.training import optimizer
from tests.parity import wrong


@dataclasses.dataclass(frozen=True)
class Trap:
    """One wrong rule.

    Attributes:
      rule: what is computed wrongly.
      how: what is swapped for it.
      cases: regex of the cases that show it.
      swap: makes the context in which the rule is wrong.
      reference: its name in the reference's own list of mutations, if it is there.
    """

    rule: str
    how: str
    cases: str
    swap: Callable[[], AbstractContextManager]
    reference: str = ""


def configured(*path: str, **changes) -> Callable[[], AbstractContextManager]:
    """Models that have the slot at `path` (of both towers: "towers") get these entries in it."""

    def edited(config: dict) -> dict:
        config = copy.deepcopy(config)
        for start in ("siglip", "dino") if path[0] == "towers" else (path[0],):
            slot = functools.reduce(lambda inner, key: inner.get(key, {}), path[1:], config[start])
            slot.update(changes)
        return config

    return replaced(build, "build", lambda original: lambda config: original(edited(config)))


def replaced(owner, name: str, spoil) -> Callable[[], AbstractContextManager]:
    """`owner.name` is `spoil(original)`."""
    return lambda: mock.patch.object(owner, name, spoil(getattr(owner, name)))


def both(*swaps: Callable[[], AbstractContextManager]) -> Callable[[], AbstractContextManager]:
    """Several swaps at once."""

    @contextlib.contextmanager
    def entered():
        with contextlib.ExitStack() as stack:
            for swap in swaps:
                stack.enter_context(swap())
            yield

    return entered


def part(kind: str, name: str, spoil) -> Callable[[], AbstractContextManager]:
    """The part that configurations call `name` is `spoil(original)`."""
    table = build.PARTS[kind]
    return lambda: mock.patch.dict(table, {name: spoil(table[name])})


TRAPS = (
    Trap(
        "vision towers with tanh GELU",
        "towers.activation",
        "f_timm|b_",
        configured("towers", activation="gelu_tanh"),
    ),
    Trap(
        "all but the text tower with tanh GELU",
        "activation of towers, projectors",
        "e_",
        both(
            configured("towers", activation="gelu_tanh"),
            configured("fuser", "dense_fuser", activation="gelu_tanh"),
            configured("fuser", "sparse_fuser", activation="gelu_tanh"),
            configured("pruners", "siglip", activation="gelu_tanh"),
            configured("coupler", activation="gelu_tanh"),
        ),
        "tanh GELU in vision/proj",
    ),
    Trap(
        "text tower with exact GELU",
        "text_encoder.activation",
        "a_|f_hf_siglip_text",
        configured("pruners", "text_encoder", activation="gelu_exact"),
    ),
    Trap(
        "towers' norm epsilon 1e-5", "towers.epsilon", "f_eps", configured("towers", epsilon=1e-5)
    ),
    Trap(
        "text tower's norm epsilon 1e-5",
        "text_encoder.epsilon",
        "f_eps",
        configured("pruners", "text_encoder", epsilon=1e-5),
    ),
    Trap(
        "decoder's norm epsilon 1e-5",
        "llm.rms_epsilon",
        "f_eps",
        configured("llm", rms_epsilon=1e-5),
    ),
    Trap(
        "decoder's norm epsilon 1e-5, whole",
        "llm.rms_epsilon",
        "e_",
        configured("llm", rms_epsilon=1e-5),
        "rms eps 1e-5",
    ),
    Trap(
        "head's norm epsilon 1e-6",
        "heads.LayerNorm",
        "f_eps",
        replaced(heads, "LayerNorm", wrong.epsilon_1e6),
    ),
    Trap(
        "features: second to last block",
        "VisionTower.run",
        "e_|c_",
        replaced(VisionTower, "run", wrong.second_to_last_block),
        "second-to-last block of both towers",
    ),
    Trap(
        "features with the final norm",
        "SemanticVLA.encode",
        "c_",
        replaced(SemanticVLA, "encode", wrong.final_norm_applied),
    ),
    Trap(
        "positions from the class token on",
        "VisionTower.embed",
        "e_|b_",
        replaced(VisionTower, "embed", wrong.positions_from_the_class_token_on),
    ),
    Trap(
        "queries in front of the patches",
        "VisionTower.embed",
        "c_|d_",
        replaced(VisionTower, "embed", wrong.queries_before_the_patches),
    ),
    Trap(
        "kept patches in the order of scores",
        "InstructionDrivenPruner.select",
        "e_|a_",
        replaced(pruners.InstructionDrivenPruner, "select", wrong.best_patch_first),
        "top-k kept in score order",
    ),
    Trap(
        "pads and end token not hidden",
        "Pruners.read",
        "a_",
        replaced(pruners.Pruners, "read", wrong.pads_not_hidden),
    ),
    Trap(
        "text tower without mask",
        "TextTower.__call__",
        "e_|a_",
        replaced(TextTower, "__call__", wrong.without_mask),
        "text encoder without mask",
    ),
    Trap(
        "softmax of words sharper",
        "siglip pruner: temperature",
        "a_",
        configured("pruners", "siglip", temperature=0.5),
    ),
    Trap(
        "training noise of 0.2",
        "siglip pruner: noise",
        "a_",
        configured("pruners", "siglip", noise=0.2),
    ),
    Trap(
        "FiLM's mean without pads",
        "pruners.pooling",
        "e_",
        configured("pruners", pooling={"name": "mean_without_pads"}),
        "FiLM mean without pads",
    ),
    Trap(
        "FiLM's mean without pads and stop",
        "pooling",
        "e_",
        both(
            configured("pruners", pooling={"name": "mean_without_pads"}),
            part("pooling", "mean_without_pads", wrong.without_stop_token),
        ),
        "FiLM mean without pads and stop",
    ),
    Trap(
        "FiLM in front of the attention",
        "Block.__call__",
        "e_|b_film",
        replaced(Block, "__call__", wrong.film_before_attention),
    ),
    Trap(
        "FiLM's scale without the 1",
        "Block.__call__",
        "b_film|e_",
        replaced(Block, "__call__", wrong.film_without_one),
    ),
    Trap(
        "Dense-Fuser replaces the patches",
        "dense_fuser = replacing",
        "e_|c_",
        configured("fuser", "dense_fuser", name="replacing"),
        "fuser without residual",
    ),
    Trap(
        "Dense-Fuser one tower after the other",
        "ResidualDenseFuser.__call__",
        "e_|c_",
        replaced(ResidualDenseFuser, "__call__", wrong.one_tower_after_the_other),
        "fuser sequential update",
    ),
    Trap(
        "Sparse-Fuser: SigLIP first",
        "SparseFuser.__call__",
        "e_",
        replaced(SparseFuser, "__call__", wrong.anchors_swapped),
        "fuse order SigLIP|DINO",
    ),
    Trap(
        "cues behind the anchors",
        "HierarchicalFuser.merge",
        "e_",
        replaced(HierarchicalFuser, "merge", wrong.cues_behind_anchors),
        "VL tokens after LV/E tokens",
    ),
    Trap(
        "proprioception in front of the images",
        "ActionCoupler.assemble",
        "e_",
        replaced(ActionCoupler, "assemble", wrong.state_first),
        "proprio first",
    ),
    Trap(
        "read-out aligned",
        "coupler.first_row = aligned",
        "e_",
        configured("coupler", first_row={"name": "aligned"}),
        "read-out aligned (not shifted)",
    ),
    Trap(
        "mask causal",
        "coupler.mask = causal",
        "e_",
        configured("coupler", mask={"name": "causal"}),
        "purely causal mask",
    ),
    Trap(
        "mask fully bidirectional",
        "coupler.mask = full",
        "e_",
        configured("coupler", mask={"name": "full"}),
        "fully bidirectional mask",
    ),
    Trap(
        "stop token outside the action block",
        "mask hybrid, one row shorter",
        "e_|i_",
        part("mask", "hybrid", wrong.block_without_stop),
        "stop token not in bidirectional block",
    ),
    Trap(
        "rotary pairs of neighbours",
        "llama_layer.rotate",
        "f_hf_llama",
        replaced(llama_layer, "rotate", wrong.neighbouring_pairs),
    ),
    Trap(
        "adapters without alpha / rank",
        "LoRA.scale",
        "g_",
        lambda: mock.patch.object(LoRA, "scale", 1.0),
    ),
    Trap(
        "weight decay of kernels only",
        "released_optimizer: decay_mask",
        "g_",
        replaced(options, "released_optimizer", wrong.only_kernels_decay),
    ),
    Trap(
        "no warm-up",
        "optimizer.schedule",
        "h_",
        replaced(optimizer, "schedule", wrong.without_warmup),
    ),
    Trap(
        "quantiles and extremes exchanged",
        "Statistics.bounds",
        "i_|e_",
        replaced(Statistics, "bounds", wrong.other_bounds),
    ),
    Trap(
        "gripper sign not negated",
        "BinaryGripper.to_environment",
        "i_",
        replaced(BinaryGripper, "to_environment", wrong.not_negated),
    ),
    Trap(
        "no JPEG round trip",
        "images.encode_jpeg, decode_jpeg",
        "j_",
        both(
            replaced(images, "encode_jpeg", wrong.unchanged),
            replaced(images, "decode_jpeg", wrong.unchanged),
        ),
    ),
    Trap(
        "no central crop at evaluation",
        "images.centre_crop",
        "j_",
        replaced(images, "centre_crop", wrong.unchanged),
    ),
)
