"""Cases i: action head, projectors, (un)normalisation, axis-angle, attention masks."""

from __future__ import annotations

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np

from semanticvla_jax.data.normalization import Bounds, Statistics
from semanticvla_jax.models.pruners import Selection
from semanticvla_jax.robots import ROBOTS
from semanticvla_jax.weights import authors
from semanticvla_jax.weights.torch_layers import linear
from tests.models.smallest import jit
from tests.parity import slots
from tests.parity.golden import Golden
from tests.parity.precision import Precision, Tolerance, values
from tests.parity.quantities import Quantity, compare, exact
from tests.parity.weights import Imported, our_shapes

TOLERANCE = Tolerance(1e-5)
# Normalisation is computed in float64 on both sides.
FLOAT64_TOLERANCE = 1e-12


def check(case: Golden, precision: Precision) -> list[Quantity]:
    found = run(case, precision)
    return [
        *values(case, precision, found["values"], TOLERANCE),
        *exact(found["masks"], case.outputs),
        *check_units(case),
    ]


def run(case: Golden, precision: Precision) -> dict[str, dict]:
    """Head, proprioception token, projectors of anchors and cues; attention masks."""
    c = case.config
    tokens = slots.action_tokens(c["num_action_tokens"], c["action_dim"])
    states = case.inputs["actions_hidden_states"]
    states = states.reshape(len(states), c["chunk"], len(tokens), -1)
    fused, cues = case.inputs["fused_feats"], case.inputs["sampler_feats"]
    # Anchors of both towers meet on channels: any split of them is the same concatenation.
    dino = Selection(fused[..., :1], cues[:, :0], {})
    siglip = Selection(fused[..., 1:], cues, {})
    rule_list = [
        *authors.action_head(r"action_head\.", "head/"),
        *linear(r"proprio_projector\.(fc\d)", r"coupler/proprio_projector/\1"),
        *authors.projectors("", "fuser/sparse_fuser/"),
    ]
    width = states.shape[-1]
    config = {
        "llm": slots.STAND_INS["llm"] | {"width": width},
        "coupler": slots.STAND_INS["coupler"] | {"chunk": c["chunk"], "mask": {"name": "hybrid"}},
        "fuser": slots.fuser(our_shapes(case.weights, rule_list)),
        "head": slots.STAND_INS["head"] | {"action_tokens": tokens},
    }
    model = slots.model(config, precision)

    def compute(m):
        merged = m.fuser.merge(dino=dino, siglip=siglip)
        actions = m.head(states)
        found = {
            "action": actions,
            "proprio_token": m.coupler.proprio_projector(case.inputs["proprio"]),
            "sampler_proj": merged[:, : cues.shape[1]],
            "fused_proj": merged[:, cues.shape[1] :],
        }
        for kind in dict(tokens):
            dims = [d for name, dims in tokens if name == kind for d in dims]
            found[kind] = actions[..., jnp.asarray(dims)]
        return {"values": found, "masks": attention_masks(m.coupler, case.inputs)}

    imported = Imported(case.weights, rule_list, model, compute)
    return jit(lambda p: model.apply({"params": p}, method=compute))(imported.params)


def attention_masks(coupler, inputs: dict) -> dict[str, jax.Array]:
    """`attend_<name>` for every `attention_mask_<name>`: the action block ends each valid part."""
    length, found = coupler.tokens + 1, {}
    for name, valid in inputs.items():
        if name.startswith("attention_mask_"):
            valid = valid != 0
            mask = coupler.mask(valid, valid.sum(1) - length, length)[:, 0]
            found[name.replace("attention_mask", "attend")] = mask
    return found


def check_units(case: Golden) -> list[Quantity]:
    """Raw state -> normalised; normalised actions -> raw -> the controller's; quaternions."""
    actions = bounds(case, "action_stats").unnormalize(case.inputs["normalized_actions"])
    state = bounds(case, "proprio_stats").normalize_unguarded(case.inputs["raw_proprio"])
    found = {"proprio_normalized": state, "actions_unnormalized": actions}
    if "env_actions" in case.outputs:
        found["env_actions"] = robot(case).gripper.to_environment(actions)
    if "quat_xyzw" in case.inputs and importlib.util.find_spec("robosuite"):
        found["axisangle"] = axis_angles(case.inputs["quat_xyzw"])
    return [
        compare(name, value, case.outputs[name], FLOAT64_TOLERANCE, "units")
        for name, value in found.items()
    ]


def bounds(case: Golden, key: str) -> Bounds:
    """The product's normalisation with the case's statistics, which lack mean and std."""
    unused = dict.fromkeys(("mean", "std"), case.config[key]["min"])
    statistics = Statistics.from_json(unused | case.config[key], key)
    return statistics.bounds(case.config["normalization"].rpartition(".")[2].lower())


def robot(case: Golden):
    """The first robot with so many action dimensions."""
    return next(r for r in ROBOTS.values() if r.action_size == case.config["action_dim"])


def axis_angles(quaternions: np.ndarray) -> np.ndarray:
    """xyzw quaternions f64[n, 4] -> f64[n, 3] as LiberoEnv.observe does, through robosuite."""
    from semanticvla_jax.libero.boot import prepare_process

    prepare_process()
    from robosuite.utils.transform_utils import quat2axisangle

    return np.stack([quat2axisangle(q.copy()) for q in quaternions])
