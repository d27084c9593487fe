"""The loop: steps, and what is due between them."""

from __future__ import annotations

import time
from typing import NamedTuple

import jax
from tqdm import tqdm

from semanticvla_jax.training import checkpoints as ckpt
from semanticvla_jax.training import distributed, sharding
from semanticvla_jax.training.faults import check_finite
from semanticvla_jax.training.preemption import Notice, Preempted
from semanticvla_jax.training.profiling import Profile
from semanticvla_jax.training.step import TrainState
from semanticvla_jax.training.trainer import Trainer


class Due(NamedTuple):
    """What follows a step."""

    log: bool
    validate: bool
    save: bool

    @classmethod
    def after(cls, step: int, config) -> Due:
        """By the `*_every` settings, where 0 is never; the last step is always saved."""

        def every(interval: int) -> bool:
            return bool(interval) and step % interval == 0

        return cls(
            log=every(config.log_every),
            validate=every(config.get("validate_every", 0)),
            save=every(config.checkpoint_every) or step == config.total_steps,
        )


def run_steps(
    trainer: Trainer, state: TrainState, frozen: dict, checkpoints: ckpt.Checkpoints, writer
) -> dict[str, float]:
    """Runs from the state's step to the end; returns the last step's metrics.

    Each step's loss is read after the next one has been dispatched, so the device never waits, and
    nothing is saved before every loss up to it was seen to be finite.

    Raises:
      Preempted: SIGTERM came; the state is saved.
      NonFiniteLoss: names the step.
      InputError: unreadable data, or a checkpoint that could not be written.
    """
    config, start = trainer.config, int(state.step)
    batches, pending, last = trainer.batches(), None, {}
    with (
        Notice() as notice,
        Profile(config.get("profile_steps", ()), trainer.workdir) as profile,
        _Progress(config, start) as progress,
    ):
        for step in range(start + 1, config.total_steps + 1):
            batch = next(batches)
            profile.before(step)
            placed = sharding.put_batch(batch, trainer.mesh)
            with jax.transfer_guard("disallow"):  # nothing slips from host to device unseen
                state, metrics = trainer.step_function(state, frozen, placed)
            profile.after(step, metrics)
            if pending:
                check_finite(*pending, trainer.workdir)
            pending = (step, metrics, batch)
            due, stop = Due.after(step, config), notice.received(step)
            if any(due) or stop:
                last = check_finite(*pending, trainer.workdir)
                pending = None
            row = {}
            if due.log:
                checkpoints.check()
                row |= last | progress.tell(step, last["loss"])
            if due.validate:
                row |= trainer.validate(state, frozen)
            if row:
                writer.write(step, row)
            if due.save or stop:
                trainer.save(checkpoints, state, frozen)
            if stop and step < config.total_steps:
                raise Preempted(step)
            progress.update()
    return last


class _Progress:
    """Bar and speed, on the leading process."""

    def __init__(self, config, start: int):
        self._start, self._batch_size = start, config.batch_size
        self._began = time.monotonic()
        self._bar = tqdm(
            total=config.total_steps,
            initial=start,
            unit="step",
            mininterval=2.0,
            smoothing=0.05,
            disable=not distributed.leads(),
        )

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()

    def update(self) -> None:
        self._bar.update()

    def tell(self, step: int, loss: float) -> dict[str, float]:
        rate = (step - self._start) * self._batch_size / (time.monotonic() - self._began)
        self._bar.set_postfix_str(f"loss {loss:.3f}, {rate:.0f} samples/s")
        return {"samples_per_second": rate}
