"""The authors' checkpoint folder: what is read from which file, and that ours reads back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from semanticvla_jax.errors import InputError
from semanticvla_jax.models.build import build
from semanticvla_jax.models.lora import LoRA, merge
from semanticvla_jax.weights import authors_folder, export_layouts, importing, rules
from semanticvla_jax.weights.files import open_weights
from semanticvla_jax.weights.formats.registry import find_format
from tests.weights import published, small, torch_writer

DINO = published.Tower(2, 12, 16, patch=4, patches=16, registers=4, class_token=True)
SIGLIP = published.Tower(2, 8, 16, patch=4, patches=16, pool=True)
LLAMA = dict(depth=2, width=8, mlp=16, vocabulary=40)
WHOLE = published.semanticvla(
    dino=DINO,
    siglip=SIGLIP,
    text=published.Tower(2, 8, 16),
    text_vocabulary=24,
    text_length=6,
    queries=4,
    pairs=2,
    rank=2,
    **LLAMA,
)
PEFT = {"r": 2, "lora_alpha": 4}


def authors_files(folder, arrays: dict, *, merged: bool):
    """A folder as the authors' training leaves it; `merged`: and their offline merge."""
    folder.mkdir()
    (folder / "lora_adapter").mkdir()
    (folder / "lora_adapter" / "adapter_config.json").write_text(json.dumps(PEFT))

    def take(prefix):
        return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}

    for part in ("vision_backbone", "action_head", "proprio_projector"):
        named = {f"module.{n}": a for n, a in take(f"{part}.").items()}
        torch_writer.write_arrays(folder / f"{part}--80000_checkpoint.pt", named)
    trained = {
        n: a
        for n, a in arrays.items()
        if "projector" in n.split(".")[0] or "sampler_proj" in n.split(".")[0]
    }
    trained = {n: a for n, a in trained.items() if not n.startswith("proprio")}
    torch_writer.write_arrays(
        folder / "non_lora_trainables--80000_checkpoint.pt",
        {f"base_model.model.{n}": a for n, a in trained.items()},
    )
    adapters = {
        "base_model.model." + n.replace(".default", ""): a
        for n, a in arrays.items()
        if ".lora_" in n
    }
    save_file(adapters, folder / "lora_adapter" / "adapter_model.safetensors")
    base = published.random_arrays(published.openvla(dino=DINO, siglip=SIGLIP, **LLAMA), seed=7)
    base |= {
        n.replace(".base_layer", ""): a
        for n, a in arrays.items()
        if n.startswith("language_model.") and ".lora_" not in n
    }
    place = folder if merged else folder / "base"
    place.mkdir(exist_ok=True)
    save_file(base, place / "model.safetensors")
    return folder


def imported(folder, config) -> tuple[dict, rules.Report]:
    model, shapes = build(config), small.shapes_of(config)
    opened = importing.open_checkpoints([("semanticvla", folder)], model)
    importing.refuse_differences(opened.differences)
    fresh = importing.may_stay_fresh(opened.formats)
    return rules.convert(opened.arrays, opened.rules, shapes, fresh=fresh)


@pytest.fixture(scope="module")
def whole():
    return published.random_arrays(WHOLE)


def test_an_unmerged_folder_is_the_whole_model(whole, tmp_path):
    config = small.released(dtype="float32")
    params, report = imported(authors_files(tmp_path / "c", whole, merged=False), config)
    direct, _ = rules.convert(
        whole,
        [*authors_folder.LEFT_OUT, *find_format("semanticvla").rules(build(config))],
        small.shapes_of(config),
    )
    assert not report.fresh
    small.assert_bitwise_equal(params, direct)


def test_a_merged_folder_does_not_count_its_adapters_twice(whole, tmp_path):
    config = small.released(dtype="float32")
    folder = authors_files(tmp_path / "c", whole, merged=True)
    params, report = imported(folder, config)
    merged = {n for n in report.ignored if n.startswith("@merged/language_model.")}
    # Two layers of seven products and the vocabulary head, two factors each.
    assert len(merged) == 2 * (2 * 7 + 1)
    assert report.fresh and all(n.startswith("llm/") and "/lora_" in n for n in report.fresh)
    np.testing.assert_array_equal(
        params["llm"]["layers"]["mlp"]["up_proj"]["kernel"][1],
        whole["language_model.model.layers.1.mlp.up_proj.base_layer.weight"].T,
    )


def test_a_part_with_its_own_file_is_taken_from_there(whole, tmp_path):
    config = small.released(dtype="float32")
    params, report = imported(authors_files(tmp_path / "c", whole, merged=False), config)
    # The base's copy (other random numbers) of towers and projector is not used.
    np.testing.assert_array_equal(
        params["fuser"]["sparse_fuser"]["projector"]["fc1"]["kernel"],
        whole["projector.fc1.weight"].T,
    )
    older = {n for n in report.ignored if n.startswith("@own_file/")}
    assert "@own_file/projector.fc1.weight" in older
    assert "@own_file/vision_backbone.featurizer.cls_token" in older
    assert any(".lora_A." in n for n in older)  # The towers' adapters, saved twice.


@pytest.mark.parametrize(
    "change, message",
    [
        ({"r": 2, "lora_alpha": 8}, "lora.alpha is 4 in the model, 8 in the checkpoint"),
        ({"r": 2, "lora_alpha": 4, "use_rslora": True}, "lora.use_rslora is None"),
    ],
)
def test_adapters_of_another_scale_are_refused(whole, tmp_path, change, message):
    folder = authors_files(tmp_path / "c", whole, merged=False)
    (folder / "lora_adapter" / "adapter_config.json").write_text(json.dumps(change))
    with pytest.raises(InputError, match=message):
        imported(folder, small.released(dtype="float32"))


def test_half_an_adapter_is_refused(whole, tmp_path):
    lacking = "language_model.model.layers.0.mlp.up_proj.lora_B.default.weight"
    arrays = {n: a for n, a in whole.items() if n != lacking}
    folder = authors_files(tmp_path / "c", arrays, merged=False)
    config = small.released(dtype="float32", scan=False)
    opened = importing.open_checkpoints([("semanticvla", folder)], build(config))
    with pytest.raises(InputError, match="one factor only.*llm/layers_0/mlp/up_proj/lora_b"):
        importing.plan_import(opened, small.shapes_of(config))


def test_incomplete_and_ambiguous_folders_are_refused(whole, tmp_path):
    folder = authors_files(tmp_path / "c", whole, merged=True)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no language model.*ln -s"):
        authors_folder.read_folder(folder)
    torch_writer.write_arrays(folder / "action_head--90000_checkpoint.pt", {"x": np.zeros(1)})
    with pytest.raises(InputError, match="2 files action_head--"):
        authors_folder.read_folder(folder)
    with pytest.raises(InputError, match="no such folder"):
        authors_folder.read_folder(tmp_path / "nothing")


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_our_export_reads_back_bit_by_bit(tmp_path, lora, dtype):
    config = small.released(lora=lora, dtype=dtype)
    params = small.random_parameters(config)
    statistics = {"libero_object": {"action": {"mean": [0.0]}}}
    authors_folder_of(tmp_path, params, LoRA(2, 4) if lora else None, statistics)
    names = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert {"action_head--checkpoint.safetensors", "dataset_statistics.json"} <= names
    assert ("lora_adapter/adapter_model.safetensors" in names) == lora
    shards = sorted(n for n in names if "-of-" in n)
    assert len(shards) > 2 and all(n.startswith("base/") for n in shards) == lora
    found, report = imported(tmp_path, config)
    assert not report.fresh and not report.ignored
    small.assert_bitwise_equal(found, params)
    assert authors_folder.read_folder(tmp_path).statistics == statistics


def test_a_merged_decoder_beside_adapted_towers_is_written_as_the_authors_do(tmp_path):
    config = small.released()
    params = small.random_parameters(config)
    params["llm"] = merge(params["llm"], LoRA(2, 4))
    authors_folder_of(tmp_path, params, LoRA(2, 4), None, shard_bytes=1 << 30)
    assert "language_model.lm_head.weight" in open_weights(tmp_path / "model.safetensors")
    tower = open_weights(tmp_path / "vision_backbone--checkpoint.safetensors")
    layer = "vision_backbone.featurizer.blocks.0.block.attn.qkv"
    assert {f"{layer}.base_layer.weight", f"{layer}.lora_A.default.weight"} <= tower.keys()
    found, report = imported(tmp_path, config)
    assert all(n.startswith("llm/") for n in report.fresh)
    small.assert_bitwise_equal(found, params)


def authors_folder_of(folder, params, lora, statistics, shard_bytes=800):
    layout = export_layouts.LAYOUTS["semanticvla"]
    beside = export_layouts.Beside({}, lora, statistics)
    layout.write(folder, layout.arrays(params), beside, shard_bytes, lambda name, size: None)
