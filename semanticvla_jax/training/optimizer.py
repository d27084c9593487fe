"""Optimizer: update rule by name, warm-up and cosine decay, freezing and rates by regex rules."""

from __future__ import annotations

import math

import jax
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import parameters


def schedule(
    peak: float, *, warmup_steps: int, decay_steps: int, final: float, total_steps: int
) -> optax.Schedule:
    """Linear warm-up from 0, then half a cosine to `final`, which then holds.

    The released code warms up over 2,000 steps and decays with T_max = 80,000 to 1e-5.

    Args:
      peak: learning rate after the warm-up.
      warmup_steps: steps of the linear part; step i has rate peak * i / warmup_steps.
      decay_steps: length of the cosine; 0 means the rest of the run.
      final: rate at the end of the cosine.
      total_steps: length of the run, used when `decay_steps` is 0.
    """
    decay_steps = decay_steps or max(1, total_steps - warmup_steps)
    cosine = optax.cosine_decay_schedule(peak, decay_steps, alpha=final / peak if peak else 0.0)
    if not warmup_steps:
        return cosine
    return optax.join_schedules(
        [optax.linear_schedule(0.0, peak, warmup_steps), cosine], [warmup_steps]
    )


def adam(config, trainable: dict) -> optax.GradientTransformation:
    """Adam for every parameter (with decay, AdamW)."""
    del trainable
    return optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps)


def muon(config, trainable: dict) -> optax.GradientTransformation:
    """Orthogonalised momentum for matrices, Adam for the rest.

    Learns from scratch in far fewer samples than Adam alone. Updates are scaled to an RMS of
    0.2 * `config.muon.scale` so that Adam's learning rates carry over (Liu et al., "Muon is
    scalable for LLM training", 2025; Newton-Schulz iterations by optax.contrib).

    Args:
      config: `config.optimizer`; `muon` has matrices (regex of names), min_dim (smaller matrices
        are left to Adam), beta, scale.
      trainable: parameters or their shapes. Leading axes of scanned layers are batch axes.
    """
    matrices = parameters.match(
        trainable, [(config.muon.matrices, True), (".*", False)], purpose="muon"
    )
    labels = parameters.unflatten(
        {
            name: "muon"
            if matrices[name] and min(_matrix_shape(leaf), default=0) >= config.muon.min_dim
            else "adam"
            for name, leaf in parameters.flatten(trainable).items()
        }
    )

    def scaled_to_rms(updates, _):
        rms = 0.2 * config.muon.scale
        return jax.tree.map(lambda u: u * rms * max(_matrix_shape(u)) ** 0.5, updates)

    orthogonal = optax.chain(
        scale_by_muon(
            beta=config.muon.beta,
            weight_dimension_numbers=lambda tree: jax.tree.map(_matrix_axes, tree),
        ),
        optax.stateless(scaled_to_rms),
    )
    return optax.partition({"muon": orthogonal, "adam": adam(config, trainable)}, labels)


def _matrix_axes(leaf) -> MuonDimensionNumbers:
    """Kernels are [in, out], [depth, in, out] (scanned layers) or [h, w, in, out]."""
    inputs = tuple(range(leaf.ndim - 1)) if leaf.ndim == 4 else (leaf.ndim - 2,)
    return MuonDimensionNumbers(reduction_axis=inputs, output_axis=leaf.ndim - 1)


def _matrix_shape(leaf) -> tuple[int, ...]:
    """(inputs, outputs) of a kernel as one matrix; () for vectors and scalars."""
    if leaf.ndim < 2:
        return ()
    inputs = _matrix_axes(leaf).reduction_axis
    return math.prod(leaf.shape[axis] for axis in inputs), leaf.shape[-1]


RULES = {"adam": adam, "muon": muon}


def trainable_names(params: dict, rules: parameters.Rules) -> dict[str, bool]:
    """{name: True} where the first matching rule's learning-rate multiplier is not None or 0."""
    multipliers = parameters.match(params, rules, purpose="learning rate")
    return {name: bool(value) for name, value in multipliers.items()}


def build(
    config, trainable: dict, *, total_steps: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimizer of a configuration, for the trainable part of the parameters.

    Args:
      config: `config.optimizer`: rule ("adam" or "muon"), learning_rate, warmup_steps, decay_steps,
        final_learning_rate, b1, b2, eps, weight_decay, decay_mask (regex of names that decay),
        clip_norm (0 = off), groups (ordered (regex, learning-rate multiplier); None freezes).
      trainable: nested dict of trainable parameters or their shapes.
      total_steps: length of the run.

    Returns:
      (transformation, schedule); the schedule is what metrics report.

    Raises:
      InputError: unknown rule, or parameters that no group matches.
    """
    if config.rule not in RULES:
        raise InputError(
            "config.optimizer.rule",
            found=repr(config.rule),
            expected=f"one of {sorted(RULES)}",
            fix="choose one of them",
        )
    rate = schedule(
        config.learning_rate,
        warmup_steps=config.warmup_steps,
        decay_steps=config.decay_steps,
        final=config.final_learning_rate,
        total_steps=total_steps,
    )
    decays = parameters.unflatten(
        parameters.match(trainable, [(config.decay_mask, True), (".*", False)], purpose="decay")
    )
    multipliers = parameters.unflatten(
        parameters.match(trainable, config.groups, purpose="learning rate")
    )
    chain = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    chain += [
        RULES[config.rule](config, trainable),
        optax.add_decayed_weights(config.weight_decay, mask=decays),
        optax.stateless(lambda updates, _: jax.tree.map(lambda u, m: u * m, updates, multipliers)),
        optax.scale_by_learning_rate(rate),
    ]
    return optax.chain(*chain), rate
