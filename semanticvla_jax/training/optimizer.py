"""AdamW with warm-up and cosine decay; freezing and learning rates by (regex, multiplier) rules."""

from __future__ import annotations

import jax
import optax

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


def trainable_names(params: dict, rules: parameters.Rules) -> dict[str, bool]:
    """{name: True} where the first matching rule's learning-rate multiplier is not None or 0."""
    multipliers = parameters.match(params, rules, purpose="learning rate")
    return {name: bool(value) for name, value in multipliers.items()}


def build(
    config, trainable: dict, *, total_steps: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimizer of a configuration, for the trainable part of the parameters.

    Args:
      config: `config.optimizer`: learning_rate, warmup_steps, decay_steps, final_learning_rate, b1,
        b2, eps, weight_decay, decay_mask (regex of names that decay), clip_norm (0 = off), groups
        (ordered (regex, learning-rate multiplier); None freezes).
      trainable: nested dict of trainable parameters or their shapes.
      total_steps: length of the run.

    Returns:
      (transformation, schedule); the schedule is what metrics report.
    """
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
        optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps),
        optax.add_decayed_weights(config.weight_decay, mask=decays),
        optax.stateless(lambda updates, _: jax.tree.map(lambda u, m: u * m, updates, multipliers)),
        optax.scale_by_learning_rate(rate),
    ]
    return optax.chain(*chain), rate
