"""The table of configurations, and every variant counted without knowing of any."""

from __future__ import annotations

import pytest

from semanticvla_jax.costs import components, conventions, inference, published, table, tokens
from semanticvla_jax.errors import InputError
from semanticvla_jax.models import variants
from semanticvla_jax.robots import LIBERO
from tests.models import smallest


def test_rows_show_what_a_configuration_costs(repository, monkeypatch):
    monkeypatch.chdir(repository)
    head, row = table.table(["configs/libero_tiny.py"], prompt_tokens=20).splitlines()
    assert head.split()[:2] == ["TFLOP", "per"]
    # 12 tokens per image; BOS, 24, the state, 20, 24 and the stop token; 1.59 M parameters.
    assert row.split()[:5] == ["configs/libero_tiny.py", "12", "71", "1.6", "1.6"]


def test_what_others_state_belongs_to_configurations_that_exist(repository, monkeypatch):
    monkeypatch.chdir(repository)
    names = table.every_variant()
    assert set(published.PUBLISHED) <= set(names)
    robots = {name: table.load_config(name).robot for name in published.PUBLISHED}
    assert robots[published.ALOHA] == "aloha"
    assert robots[f"{published.LIBERO}:openvla,libero_one_camera"] == "libero_one_camera"


def test_a_missing_file_is_named(repository, monkeypatch):
    monkeypatch.chdir(repository)
    with pytest.raises(InputError, match="configs/nothing.py:lite: found no such file"):
        table.load_config("configs/nothing.py:lite")


# Image tokens per image of 64 patches, with 4 anchors and 2 cues: per tower or merged.
PER_IMAGE = {
    "released": 6,
    "r4": 16 + 2,
    "r8": 8 + 2,
    "r32": 2 + 2,
    "id_both": 4 + 2 + 2,
    "sa_both": 4,
    "slime": 6,
    "fastv": 64,
    "openvla": 64,
    "openvla_oft": 64,
    "openvla_oft_film": 64,
    "pd_vla": 64,
}


@pytest.mark.parametrize("name", sorted(variants.VARIANTS))
def test_every_variant_is_counted(name):
    model = smallest.released()
    for tower in ("siglip", "dino"):
        model[tower]["image_size"] = 32
    model["llm"]["depth"] = 3  # FastV drops tokens behind the second layer
    traced = inference.trace_model(variants.apply(name, model), LIBERO, prompt_tokens=5)
    assert tokens.count(traced).per_image == PER_IMAGE.get(name, 6)
    counts, _ = conventions.conventions(traced)
    assert set(counts["ours"]) <= {component for _, component in components.MODULES}
    assert counts["ours"]["LLM"].linear > 0 and counts["ours"]["LLM"].attention > 0
    totals = {name: conventions.total(count) for name, count in counts.items()}
    assert totals["full"] >= totals["ours"] and totals["full"] >= totals["lean"]
    assert totals["lean"] > totals["paper_like"]
