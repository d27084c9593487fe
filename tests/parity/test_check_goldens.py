"""The command: what passes, what fails, what is left, and that nothing passes unseen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.parity import registry
from tests.parity.check_goldens import main
from tests.parity.golden import Golden

TABLE = "h_lr_schedule"
PIXELS = "j_image_preproc_public"
ENCODER = "f_timm_siglip_vision_public"


@pytest.fixture
def folder(shared_dir, tmp_path):
    """Copies public cases into an empty folder; returns it."""

    def copied(*names: str) -> Path:
        for name in names:
            for suffix in ("json", "npz"):
                target = tmp_path / f"{name}.{suffix}"
                shutil.copy(shared_dir / "goldens" / target.name, target)
                target.chmod(0o644)
        return tmp_path

    return copied


def edit(folder: Path, name: str, **changes) -> None:
    """Changes entries `w/...`, `i/...`, `o/...` of a case (`key=function of the old array`)."""
    with np.load(folder / f"{name}.npz") as stored:
        arrays = dict(stored)
    for key, change in changes.items():
        arrays[key] = change(arrays.get(key))
    np.savez(folder / f"{name}.npz", **arrays)


def edit_json(folder: Path, name: str, path: str, value) -> None:
    """Sets the entry at a dotted path of a case's JSON."""
    *outer, last = path.split(".")
    stored = json.loads((folder / f"{name}.json").read_text())
    entry = stored
    for key in outer:
        entry = entry[key]
    entry[last] = value
    (folder / f"{name}.json").write_text(json.dumps(stored))


def run(folder: Path, capsys, *options: str) -> tuple[int, list[str]]:
    status = main([str(folder), *options])
    return status, capsys.readouterr().out.splitlines()


def test_good_cases_pass(folder, capsys):
    path = folder(TABLE, PIXELS)
    (path / "flops_table.json").write_text("{}")
    (path / "e_x_mutations.json").write_text("{}")
    status, lines = run(path, capsys)
    assert status == 0
    assert lines[-1] == "5 passed, 0 failed"
    assert not any("flops" in line or "mutations" in line for line in lines)


def test_a_folder_without_cases_fails(tmp_path, capsys):
    status, lines = run(tmp_path, capsys)
    assert status == 1 and lines[-1] == "0 passed, 0 failed"


def test_unknown_and_broken_cases_fail_and_the_others_still_run(folder, capsys):
    path = folder(TABLE, PIXELS)
    (path / "z_new_public.json").write_text("{}")
    (path / "a_half_public.npz").write_bytes(b"")
    whole = (path / f"{PIXELS}.npz").read_bytes()
    (path / f"{PIXELS}.npz").write_bytes(whole[: len(whole) // 2])
    status, lines = run(path, capsys)
    assert status == 1 and lines[-1] == "1 passed, 3 failed"
    failed = {line.split()[1]: line for line in lines if line.startswith("FAIL")}
    assert set(failed) == {"z_new_public", "a_half_public", PIXELS}
    assert "no check knows it" in failed["z_new_public"]
    assert "FileNotFoundError" in failed["a_half_public"]
    assert "BadZipFile" in failed[PIXELS]


@pytest.mark.parametrize(
    "key, change",
    [
        ("o/block1", lambda x: x + 1e-3),
        ("o/block1", lambda x: np.where(np.arange(x.size).reshape(x.shape) == 5, np.nan, x)),
        ("o/block1", lambda x: x[:, :-1]),
        ("o/new_quantity", lambda _: np.zeros(3)),
        ("w/blocks.0.mlp.fc1.weight", lambda x: x * 1.001),
        ("w/unheard_of", lambda _: np.zeros(3)),
    ],
)
def test_anything_that_differs_or_is_new_fails(folder, key, change):
    path = folder(ENCODER)
    edit(path, ENCODER, **{key: change})
    assert not all(q.passed for q in registry.run_case(path, ENCODER).quantities)


@pytest.mark.parametrize(
    "name, entry, value",
    [
        ("a_id_pruner_public", "vision_topk", 5),
        ("a_id_pruner_public", "text_topk", 2),
        ("a_id_pruner_public", "text_heads", 4),
        ("a_id_pruner_public", "pad_token_id", 0),
        ("a_id_pruner_public", "text_config.layer_norm_eps", 1e-2),
        ("b_null_dino_reg4_public", "ln_eps", 1e-2),
        ("b_null_dino_reg4_public", "heads", 2),
        ("f_hf_siglip_vision_public", "config.hidden_act", "gelu"),
        ("f_hf_siglip_vision_public", "config.layer_norm_eps", 1e-2),
        ("f_hf_llama_public", "config.rope_theta", 100.0),
        ("f_hf_llama_public", "config.rms_norm_eps", 1e-2),
        ("f_hf_llama_public", "config.num_attention_heads", 2),
        ("i_heads_post_libero_public", "normalization", "NormalizationType.BOUNDS"),
        ("j_image_preproc_public", "dino_mean", [0.485, 0.456, 0.406]),
    ],
)
def test_cases_run_as_their_json_says(folder, name, entry, value):
    path = folder(name)
    edit_json(path, name, entry, value)
    assert not all(q.passed for q in registry.run_case(path, name).quantities)


@pytest.mark.parametrize(
    "name", ["a_id_pruner_public", "d_backbone_nocross_1img_public", "f_hf_llama_public"]
)
def test_other_batches_pass(folder, name):
    """Samples do not depend on each other there: any rows, in any order, are a case too."""
    path = folder(name)
    case = Golden(path, name)
    rows = [1, 0, 1]
    arrays = {f"i/{k}": v for k, v in case.inputs.items()}
    arrays |= {f"o/{k}": v for k, v in case.outputs.items()}
    edit(path, name, **{key: lambda x: x[rows] for key in arrays})
    quantities = registry.run_case(path, name).quantities
    assert len(quantities) > 3 and all(q.passed for q in quantities)


def test_models_run_in_bfloat16_and_the_rest_is_left(folder, capsys):
    status, lines = run(folder(TABLE, ENCODER), capsys, "--dtype", "bfloat16")
    assert status == 0 and lines[-1] == "1 passed, 0 failed"
    assert f"left: {TABLE}: not a model: runs in float32 only" in lines
