"""The benchmark of the training step: what it counts and what it tells the other implementation."""

from __future__ import annotations

import numpy as np

from benchmarks.training_step import __main__ as command
from benchmarks.training_step import ours, settings
from configs import semanticvla_libero
from semanticvla_jax.costs import inference, products
from tests.smallest import adapted_config, smallest_config


def test_a_step_is_timed_with_synthetic_batches():
    config = smallest_config("nowhere")
    measured = ours.measure(config, steps=2)
    assert len(measured["seconds"]) == 2 and np.isfinite(measured["loss"])
    assert measured["flops"] > 0 and measured["product_rate"] > 0


def test_training_everything_costs_three_forward_passes_and_adapters_less():
    """But for the first layers, whose inputs need no gradient."""
    config = smallest_config("nowhere")
    traced = inference.trace(config, prompt_tokens=config.data.prompt_length)
    forward = config.batch_size * products.total(traced.products)
    assert 2.2 * forward < ours.model_flops(config) <= 3 * forward
    adapted = adapted_config("nowhere")
    assert ours.model_flops(adapted) < ours.model_flops(config) * 1.5


def test_recomputation_does_not_count():
    config = adapted_config("nowhere")
    recomputing = ours.model_flops(config)
    config.model.llm.remat = False
    assert ours.model_flops(config) == recomputing


def test_sizes_of_the_released_model():
    sizes = settings.sizes(semanticvla_libero.get_config())
    assert sizes["dino"]["width"] == 1024 and sizes["siglip"]["depth"] == 27
    assert sizes["llm"] == dict(width=4096, depth=32, heads=32, mlp_width=11008, vocab_size=32064)
    assert sizes["heads"] == [3, 3, 1] and sizes["lora"]["rank"] == 64


def test_nominal_peaks_by_what_jax_calls_the_devices():
    assert command.nominal_peak("8 x TPU v5 lite") == 8 * 197e12
    assert command.nominal_peak("1 x NVIDIA H200") == 790e12
    assert command.nominal_peak("1 x cpu") is None
