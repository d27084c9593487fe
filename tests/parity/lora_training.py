"""Cases g: which parameters train, and some steps of the product's own training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from configs import options
from semanticvla_jax.robots import ROBOTS
from semanticvla_jax.training import optimizer, parameters
from semanticvla_jax.training.step import TrainState, make_train_step
from tests.models.smallest import jit
from tests.parity import gradients
from tests.parity.golden import Golden
from tests.parity.precision import Precision, Tolerance, values
from tests.parity.quantities import Quantity, compare
from tests.parity.whole_model import WholeModel, pad_id, training_batch

# Adam divides a gradient by its own size: where that is rounding noise, one step may differ by a
# part of the learning rate, and what is computed from the parameters with it.
TOLERANCE, RMS_TOLERANCE = Tolerance(1e-4), 1e-6


class FromPixels:
    """The model as `make_train_step` wants it, for batches of normalised pixels."""

    def __init__(self, model):
        self.model = model

    def apply(self, variables, batch, weights, rngs, method: str):
        """Loss and actions of a training batch with `dino` and `siglip` pixels."""
        assert method == "supervise"

        def supervise(m, batch, weights):
            instruction = m.understand(batch)
            prefix, _ = m.observe(batch["dino"], batch["siglip"], instruction, batch, train=True)
            return m.coupler.supervise(m.llm, m.head, prefix, batch["actions"], weights)

        return self.model.apply(variables, batch, weights, rngs=rngs, method=supervise)


def remember_gradients() -> optax.GradientTransformation:
    """Changes nothing; its state is the last gradient."""
    return optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params), lambda updates, *_: (updates, updates)
    )


def check(case: Golden, precision: Precision) -> list[Quantity]:
    c = case.config
    whole = WholeModel(case, precision, lora={"rank": c["r"], "alpha": c["alpha"]})
    settings = optimizer_settings(case)
    trained = optimizer.trainable_names(whole.params, settings.groups)
    trainable, frozen = parameters.split(whole.params, trained)
    transform, _ = optimizer.build(settings, trainable, total_steps=c["steps"])
    transform = optax.chain(remember_gradients(), transform)
    state = TrainState(jnp.int32(0), trainable, transform.init(trainable))
    predict, step = programs(case, whole, transform)
    batch = training_batch(case)

    found: dict[str, Any] = {}
    quantities = [check_split(case, whole, trained), *check_counts(case, whole, trainable)]
    found["eval_pred_before"], found["eval_loss_before"] = predict(trainable, frozen, batch, False)
    for i in range(c["steps"]):
        # The case's noise is [step, image, batch, ...].
        noisy = batch | {"pruner_noise": case.inputs["noise"][i].swapaxes(0, 1)}
        found[f"train_pred_step{i}"], _ = predict(state.trainable, frozen, noisy, True)
        state, metrics = step(state, frozen, noisy)
        found[f"train_loss_step{i}"] = metrics["loss"]
        grads = parameters.flatten(state.optimizer[0])
        norms = gradients.norms(whole.imported, grads, c["grad_norms"][i], pad_id(case))
        quantities += gradients.check_norms(norms, c["grad_norms"][i], f"step {i} ")
    ends = predict(state.trainable, frozen, batch, False)
    found["eval_pred_after"], found["eval_loss_after"] = ends
    after = check_parameters(case, whole, parameters.flatten(state.trainable))
    return [*quantities, *values(case, precision, found, TOLERANCE), *after]


def optimizer_settings(case: Golden) -> ConfigDict:
    """The product's released AdamW and its frozen parameters, at the case's constant rate."""
    a = case.config["adamw"]
    settings = options.released_optimizer(adapters=True)
    settings.learning_rate = settings.final_learning_rate = a["lr"]
    settings.warmup_steps, settings.decay_steps = 0, 1
    settings.b1, settings.b2 = a["betas"]
    settings.eps, settings.weight_decay = a["eps"], a["weight_decay"]
    return settings


def check_split(case: Golden, whole: WholeModel, trained: dict[str, bool]) -> Quantity:
    """Which parameters train: how many differ from the released code."""
    listed = {n: p["trainable"] for n, p in case.config["params"].items() if n in whole.imported}
    wrong = [n for n, trains in listed.items() if trained[whole.imported.ours(n)] != trains]
    return Quantity("trainable or frozen", len(wrong), 0.0, "counts", ", ".join(wrong[:4]))


def programs(
    case: Golden, whole: WholeModel, transform: optax.GradientTransformation
) -> tuple[Callable, Callable]:
    """(compiled prediction, compiled training step)."""
    dims = case.inputs["ground_truth_actions"].shape[-1]
    robot = next(r for r in ROBOTS.values() if r.action_size == dims)

    def predict(trainable, frozen, batch, train: bool):
        params = parameters.merge(trainable, frozen)
        actions, _ = whole.model.apply(
            {"params": params}, batch["dino"], batch["siglip"], batch, train, method="from_pixels"
        )
        return actions, jnp.abs(actions - batch["actions"]).mean()

    step = make_train_step(
        FromPixels(whole.model),
        transform,
        optax.constant_schedule(case.config["adamw"]["lr"]),
        loss_weights=jnp.ones(dims),
        robot=robot,
        seed=0,
    )
    return jit(predict, static_argnums=3), jit(step)


def check_counts(case: Golden, whole: WholeModel, trainable: dict) -> list[Quantity]:
    """Ours and those that the import ignores make up the reference's numbers of parameters."""
    listed = case.config["params"]
    ignored = [entry for name, entry in listed.items() if name not in whole.imported]
    sizes = [(np.prod(entry["shape"], dtype=int), entry["trainable"]) for entry in ignored]
    unowned, unowned_trained = (sum(s for s, t in sizes if t or both) for both in (True, False))
    counts = {
        "n_total": parameters.count(whole.params) + unowned,
        "n_trainable": parameters.count(trainable) + unowned_trained,
    }
    return [compare(n, count, case.config[n], 0.0, "counts") for n, count in counts.items()]


def check_parameters(case: Golden, whole: WholeModel, trained: dict) -> list[Quantity]:
    """The parameters that the case has, after the last step: worst element, and all together.

    Elements may differ where a gradient is rounding noise; all together must not, or a forgotten
    weight decay would pass.
    """
    out = []
    for name, reference in case.outputs.items():
        if name.startswith("after/"):
            source = name.removeprefix("after/")
            found = whole.imported.part(trained, source)
            expected = whole.imported.laid_out(source, reference)
            rms = float(np.sqrt(np.square(found - expected).mean(dtype=np.float64)))
            out.append(compare(name, found, expected, TOLERANCE.absolute, "parameters after"))
            out.append(Quantity(f"rms of {name}", rms, RMS_TOLERANCE, "parameters after, rms"))
    return out
