"""The latency benchmark: alternation, statistics, its processes, what it counts, our side."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks import random_policy, roofline
from benchmarks.latency import contest, inputs, ours, printed, rounds, worker
from benchmarks.plain_torch import sizes as plain
from configs import semanticvla_libero
from semanticvla_jax.costs import components, inference
from semanticvla_jax.costs.products import Product
from semanticvla_jax.errors import InputError
from semanticvla_jax.models import abstract
from semanticvla_jax.robots import LIBERO
from tests.smallest import smallest_config

TINY = "configs/libero_tiny.py"
SMALLEST = {
    **{f"model.{t}.{k}": 1 for t in ("siglip", "dino", "llm") for k in ("depth",)},
    "model.fuser.dense_fuser.pairs": (),
}
SENTENCE = "put the bowl on the stove"


def test_observations_are_new_and_the_same_for_all():
    first, again, other = (inputs.observation(i, 2, 32, 8) for i in (1, 1, 2))
    assert first.images.shape == (2, 32, 32, 3) and first.images.dtype == np.uint8
    assert first.state.shape == (8,) and first.state.dtype == np.float32
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.images != other.images).mean() > 0.9


class Recorded:
    """A worker whose queries take as many seconds as `pace` says."""

    def __init__(self, name: str, pace: float, log: list):
        self.name, self.pace, self.log = name, pace, log

    def ask(self, order: str, call: str, first: int, count: int) -> list[float]:
        self.log.append((self.name, call, first, count))
        return [self.pace * (1 + len(self.log))] * count


def test_contestants_alternate_on_the_same_observations():
    log: list = []
    contestants = {name: (Recorded(name, 1.0, log), "query") for name in ("a", "b")}
    times = rounds.measure(contestants, calls=5, block=2, warm_up=3)
    assert log[:2] == [("a", "query", 0, 3), ("b", "query", 0, 3)]
    assert [entry[0] for entry in log[2:]] == ["a", "b", "b", "a", "a", "b"]
    firsts = {name: [first for n, _, first, _ in log[2:] if n == name] for name in "ab"}
    assert firsts["a"] == firsts["b"] == [4, 7, 10]  # a block draws one more, and none twice
    assert [len(seconds) for seconds in times["a"].rounds] == [2, 2, 2]


def test_medians_and_ratios_by_hand():
    ours = rounds.Times([[1.0, 1.0, 3.0], [2.0, 2.0, 2.0]])
    theirs = rounds.Times([[2.0, 2.0, 2.0], [6.0, 6.0, 6.0]])
    assert ours.median == 2 and ours.p99 == pytest.approx(2.95)
    found = rounds.ratio(theirs, ours)  # rounds: 2 / 1 and 6 / 2
    assert (found.value, found.low, found.high) == (2.0, 2.25, 2.75)
    assert str(found) == "2.00 (2.25 to 2.75)"


def test_a_worker_answers_line_by_line():
    with worker.Worker([sys.executable, "-m", "tests.benchmarks.side"], {"offset": 10}) as idle:
        assert idle.ready() == {
            "calls": ["note", "end"],
            "version": "idle",
            "device": "none",
            "failed": {},
        }
        seconds = idle.ask("block", call="note", first=7, count=3)
        assert len(seconds) == 3 and all(s >= 0 for s in seconds)
        # Three that count, and one before them, with the observation behind them.
        assert idle.ask("ceilings") == {"copy": 14, "product": 9}
        assert {name: len(s) for name, s in idle.ask("stages", count=4).items()} == {"nothing": 4}
        with pytest.raises(worker.Ended, match="status 3"):
            idle.ask("block", call="end", first=0, count=1)


def test_tables_by_hand():
    times = {
        "JAX": rounds.Times([[0.002, 0.002]]),
        "PyTorch eager": rounds.Times([[0.008, 0.008]]),
        "PyTorch compiled": rounds.Times([[0.003, 0.003]]),
    }
    shown = printed.queries(times, 0.001).splitlines()
    assert shown[1].split() == ["JAX", "2.00", "2.00", "2.00", "2.00", "1"]
    assert shown[2].split()[2:7] == ["8.00", "8.00", "8.00", "8.00", "4.00"]
    assert printed.last_line(times, 0.001) == "ratio=1.50 roofline_ratio=2.00"
    assert printed.last_line({"JAX": times["JAX"]}, 0.001) == "roofline_ratio=2.00"


def test_stages_add_up_without_what_an_instruction_costs():
    seconds = {
        "JAX": {"instruction": [0.5], "towers": [0.002, 0.004, 0.1], "heads": [0.001]},
        "PyTorch": {"towers": [0.006]},
    }
    rows = [line.split() for line in printed.stages(seconds).splitlines()]
    assert rows[1] == ["instruction", "500.00", "-"]
    assert rows[2] == ["towers", "4.00", "6.00"]
    assert rows[-1] == ["all", "but", "instruction", "5.00", "6.00"]


def test_roofline_by_hand():
    """A tower bound by compute in a batch of two, and a decoder bound by its weights."""
    products = [
        Product("dino/blocks_0/mlp/fc1", flops=100, rows=10, weight_bytes=30, weights=True),
        Product("llm/layers_0/mlp/up_proj", flops=40, rows=5, weight_bytes=400, weights=True),
    ]
    query = roofline.Query(products, None, 0, batch=2)
    assert query.flops == 280 and query.weight_bytes == 430
    assert query.seconds(roofline.machine(copy=2, product=10)) == 20 + 200


def test_what_an_instruction_costs_is_not_a_querys():
    config = smallest_config("nowhere")
    model = random_policy.at_precision(abstract.complete(config), "float32")
    traced = inference.trace_model(model, LIBERO, prompt_tokens=20)
    kept = sum(
        p.flops
        for p in traced.products
        if components.component(p.module) in ("SigLIP text", "text MLP", "FiLM")
    )
    query = roofline.count(model, LIBERO, 20)
    assert 0 < kept < query.flops
    assert query.flops == sum(p.flops for p in traced.products) - kept
    heads = sum(p.weight_bytes for p in query.products if "head" in p.module)
    small = roofline.count(model, LIBERO, 20, quantised=1)
    assert heads < small.weight_bytes < query.weight_bytes
    assert heads == sum(p.weight_bytes for p in small.products if "head" in p.module)


def test_everything_in_one_type():
    model = abstract.complete(semanticvla_libero.get_config())
    assert model["llm"]["param_dtype"] == "bfloat16"
    changed = random_policy.at_precision(model, "float32")
    assert "param_dtype" not in changed["llm"] and "dtype" not in changed["dino"]
    assert changed["dtype"] == changed["param_dtype"] == "float32"
    assert model["llm"]["param_dtype"] == "bfloat16"


def test_sizes_that_pytorch_builds():
    def sizes(words):
        config = semanticvla_libero.get_config(words)
        return plain.sizes(abstract.complete(config), LIBERO, 20)

    lite, openvla, oft = sizes("lite"), sizes("openvla"), sizes("openvla_oft")
    assert lite["queries"] == 16 and lite["dino"]["depth"] == 24 and lite["mask"] == "hybrid"
    assert openvla["words"] and openvla["tokens_per_step"] == 7 and openvla["text"] is None
    # The blocks behind the second to last, whose features are used, do not exist.
    assert openvla["siglip"]["depth"] == 26 and not openvla["pairs"]
    assert oft["heads"] == [7] and oft["mask"] == "full" and not oft["words"]
    with pytest.raises(InputError, match="pruners"):
        sizes("sa_both")


def test_unknown_precision():
    with pytest.raises(InputError, match="--precision"):
        contest.Contest(TINY, {}, "float32+int3", SENTENCE)


@pytest.fixture(scope="module")
def side() -> ours.OurSide:
    return ours.OurSide(TINY, SMALLEST, "float32", SENTENCE)


def test_our_side_answers_in_the_robots_units(side):
    actions = side.query(side.draw(3))
    assert actions.shape == (8, 7) and np.isfinite(actions).all()
    assert (actions != side.query(side.draw(4))).any()


def test_stages_without_exchanges_are_the_query(side):
    stages = side.stages()
    assert list(stages) == [
        "instruction",
        "preprocessing",
        "towers",
        "fusers, pruners",
        "decoder",
        "heads",
    ]
    for stage in stages.values():
        stage()
    normalised = np.asarray(stages["heads"]())
    expected = side.query(side.draw(0))
    np.testing.assert_allclose(side.policy.finish(normalised)[0], expected, atol=1e-5)
