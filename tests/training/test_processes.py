"""Two processes of one run, when something happens to one of them."""

from __future__ import annotations

import contextlib

import pytest

from semanticvla_jax.training.metrics import read_metrics
from semanticvla_jax.training.stored import StoredCheckpoints
from tests.training import layouts, processes

SETTINGS = layouts.SETTINGS | {"checkpoint_every": 1, "keep_checkpoints": 6}


@contextlib.contextmanager
def two_started(dataset, workdir, **variables_of):
    """Two joined processes; `first` and `second` are variables of one of them."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                processes.started(
                    dataset, workdir, variables=joining | variables_of.get(which, {}), **SETTINGS
                )
            )
            for joining, which in zip(processes.joining(2), ("first", "second"), strict=True)
        ]


@pytest.mark.slow
@pytest.mark.parametrize("failing", ["first", "second"])
@pytest.mark.parametrize("signal", ["SIGINT", "SIGKILL"])
def test_if_one_fails_the_other_ends(tiny_dataset, tmp_path, failing, signal):
    """With SIGINT it fails as Python programs do, by an exception."""
    with two_started(tiny_dataset, tmp_path, **{failing: {"SEND": f"{signal}:2"}}) as both:
        for process in both:
            process.communicate(timeout=400)
            assert process.returncode != 0


@pytest.mark.slow
def test_all_pass_over_what_one_cannot_read(tiny_dataset, tmp_path):
    """The newest checkpoint lacks the part that the second process reads, and no other."""
    stop = {"SEND": "SIGTERM:2"}
    with two_started(tiny_dataset, tmp_path, first=stop, second=stop) as both:
        for process in both:
            processes.output(process)
    newest, before = StoredCheckpoints(tmp_path).steps()[:2]
    params = tmp_path / "checkpoints" / str(newest) / "params"
    largest = max(
        (params / "ocdbt.process_1" / "d").iterdir(), key=lambda path: path.stat().st_size
    )
    largest.unlink()
    axes = dict(mesh__data=1, mesh__fsdp=2, mesh__tensor=1)
    printed = processes.run(tiny_dataset, tmp_path, processes=2, **axes, **SETTINGS)
    assert printed.count("is damaged") == 1
    assert (tmp_path / "damaged" / str(newest)).is_dir()
    assert read_metrics(tmp_path / "metrics.jsonl")[before]["step"] == before + 1
    one = tmp_path / "one"
    processes.run(tiny_dataset, one, **SETTINGS)
    assert layouts.largest_difference(tmp_path, one) < layouts.TOLERANCE
