"""The convert command: there and back, training from its result, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semanticvla_jax.errors import InputError
from semanticvla_jax.models.build import build
from semanticvla_jax.policy import load_policy
from semanticvla_jax.train import Trainer, train
from semanticvla_jax.training import checkpoints, parameters
from semanticvla_jax.training.initial import initial_parameters
from semanticvla_jax.weights import conversion
from semanticvla_jax.weights.files import open_weights
from semanticvla_jax.weights.new_folder import new_folder
from tests.models.smallest import jit
from tests.smallest import smallest_config
from tests.weights import published, small
from tests.weights.test_authors_folder import DINO, LLAMA, SIGLIP, WHOLE, authors_files
from tests.weights.test_formats import TOWER, written


def configuration(**changes) -> dict:
    return {"robot": "libero", "model": small.released(dtype="float32", **changes)}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """(the authors' arrays, what importing their folder gives, our checkpoint of it)."""
    root, arrays = tmp_path_factory.mktemp("convert"), published.random_arrays(WHOLE)
    folder = authors_files(root / "authors", arrays, merged=False)
    (folder / "dataset_statistics.json").write_text(json.dumps({"libero_object": {"action": {}}}))
    found = conversion.import_foreign(
        [("semanticvla", folder)], configuration(), accept_differences=False
    )
    with new_folder(root / "ours") as partial:
        conversion.write_ours(found, partial)
    return arrays, found, root / "ours"


def test_there_and_back(converted, tmp_path):
    arrays, found, ours = converted
    again = conversion.read_ours(ours, None)
    assert again.meta["statistics"] == {"libero_object": {"action": {}}} and not again.fresh
    conversion.write_foreign(again, "semanticvla", tmp_path, shard_bytes=5000)
    back = conversion.import_foreign(
        [("semanticvla", tmp_path)], configuration(), accept_differences=False
    )
    small.assert_bitwise_equal(back.params, found.params)


def test_merging_changes_the_function_by_rounding_only(converted):
    _, found, _ = converted
    merged = found.merged()
    assert merged.meta["config"]["model"]["lora"] is None
    assert not any("lora" in name for name in parameters.flatten(merged.params))
    x = np.random.default_rng(0).standard_normal((1, 4, 8), np.float32)
    mask = np.ones((1, 1, 4, 4), bool)
    states = {}
    for each in (found, merged):
        llm = build({**each.meta["config"]["model"], "dtype": "float32"}).llm.clone()
        run = jit(lambda p, m=llm: m.apply({"params": p}, x, mask))
        states[each is merged] = np.asarray(run(each.params["llm"]))
    assert np.isfinite(states[True]).all()
    np.testing.assert_allclose(states[True], states[False], atol=1e-4)
    plain = build({**merged.meta["config"]["model"], "dtype": "float32"}).llm.clone()
    base = {n: a for n, a in parameters.flatten(found.params["llm"]).items() if "lora" not in n}
    without = jit(lambda p: plain.apply({"params": p}, x, mask))(parameters.unflatten(base))
    assert np.abs(without - states[False]).max() > 0.1  # The adapters do something.


def test_adapters_and_missing_parameters_stop_an_export(converted, tmp_path):
    _, found, _ = converted
    with pytest.raises(InputError, match="adapter factors.*--merge_lora"):
        conversion.write_foreign(found, "openvla", tmp_path, 1e9)
    lacking = conversion.Converted(found.params, found.meta, ["head/trans/fc1/kernel"])
    with pytest.raises(InputError, match="without a value, e.g. head/trans/fc1/kernel"):
        conversion.write_foreign(lacking, "semanticvla", tmp_path, 1e9)
    with pytest.raises(InputError, match="without adapters"):
        found.merged().merged()


def test_a_folder_is_complete_or_absent(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "x") as partial:
        (partial / "half").write_text("")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "x") as partial:
        (partial / "whole").write_text("")
        assert not (tmp_path / "x").exists()
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["whole"]
    with pytest.raises(InputError, match="something there already"), new_folder(tmp_path / "x"):
        pass


def test_the_command(tmp_path):
    """OpenVLA and a text tower into the model of a configuration file."""
    openvla = published.openvla(dino=DINO, siglip=SIGLIP, **LLAMA)
    text = published.siglip_text("", tower=TOWER, vocabulary=24, length=6)
    config = tmp_path / "config.py"
    config.write_text(
        "from ml_collections import ConfigDict\n"
        "from tests.weights import small\n"
        "def get_config():\n"
        "    return ConfigDict({'robot': 'libero', 'model': small.released()})\n"
    )
    command = [sys.executable, "-m", "semanticvla_jax.convert", "--config", config]
    command += ["--from", "openvla", "--src", written(tmp_path / "openvla", openvla)]
    command += ["--from", "siglip-hf-text", "--src", written(tmp_path / "text", text)]
    command += ["--dst", tmp_path / "out"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "SigLIP text" in run.stdout and "pooling head, never run" in run.stdout
    assert "fresh:" in run.stdout and "read: 100%" in run.stderr
    opened, step = checkpoints.open_for_reading(tmp_path / "out")
    stored, meta = parameters.flatten(opened.params_shapes(step)), opened.read_meta(step)
    opened.close()
    assert "pruners/text_encoder/pos_embed" in stored and "head/trans/fc1/kernel" in meta["fresh"]
    assert not any(name in stored for name in meta["fresh"])
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]


def test_training_starts_from_given_parameters(tiny_dataset, finished_run, tmp_path):
    config = smallest_config(tiny_dataset)
    config.init_from = str(finished_run)
    trainer = Trainer(config, tmp_path / "run")
    state, frozen = trainer.initial()
    stored = checkpoints.open_for_reading(finished_run)[0]
    small.assert_bitwise_equal(
        parameters.merge(state.trainable, frozen), stored.read_params(6, None)
    )
    stored.close()
    assert int(state.step) == 0


def test_a_checkpoint_of_the_run_itself_comes_first(tiny_dataset, finished_run):
    config = smallest_config(tiny_dataset)
    config.init_from = "nothing there"
    with pytest.raises(InputError, match="init_from: None -> nothing there"):
        train(config, finished_run)


def initial(init, init_from) -> dict:
    shapes = jax.eval_shape(init, jax.random.key(0))
    shardings = jax.tree.map(lambda _: jax.sharding.SingleDeviceSharding(jax.devices()[0]), shapes)
    return initial_parameters(init, jax.random.key(0), shapes, shardings, init_from)


def two_parameters(key) -> dict:
    return {"a": jnp.zeros((2, 3), jnp.bfloat16), "b": jax.random.normal(key, (2,))}


def test_what_is_lacking_is_initialised(tmp_path):
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    with new_folder(tmp_path / "part") as partial:
        conversion.write_ours(conversion.Converted({"a": given}, {}, ["b"]), partial)
    found = initial(two_parameters, tmp_path / "part")
    assert found["a"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(found["a"], given.astype(jnp.bfloat16))
    np.testing.assert_array_equal(found["b"], two_parameters(jax.random.key(0))["b"])
    small.assert_bitwise_equal(
        initial(two_parameters, None), jax.jit(two_parameters)(jax.random.key(0))
    )


@pytest.mark.parametrize(
    "stored, message",
    [
        ({"a": np.zeros((2, 2), np.float32)}, r"1 of another shape: a \(2, 2\), not \(2, 3\)"),
        ({"c": np.zeros(1, np.float32)}, "1 not in the model: c"),
    ],
)
def test_parameters_of_another_model_are_refused(tmp_path, stored, message):
    with new_folder(tmp_path / "other") as partial:
        conversion.write_ours(conversion.Converted(stored, {}, []), partial)
    with pytest.raises(InputError, match=message):
        initial(two_parameters, tmp_path / "other")


def test_a_policy_needs_every_parameter(finished_run, tmp_path):
    stored = checkpoints.open_for_reading(finished_run)[0]
    params, meta = stored.read_params(6, None), stored.read_meta(6)
    stored.close()
    head = params.pop("head")
    with new_folder(tmp_path / "part") as partial:
        conversion.write_ours(conversion.Converted(params, meta, ["head"]), partial)
    with pytest.raises(InputError, match=r"not stored: head/.*init_from"):
        load_policy(tmp_path / "part")
    with new_folder(tmp_path / "whole") as partial:
        conversion.write_ours(conversion.Converted({**params, "head": head}, meta, []), partial)
    assert load_policy(tmp_path / "whole").chunk == 8


def test_openvla_export_of_an_openvla_import(tmp_path):
    """What came from OpenVLA's file goes back into it, but for the arrays that are never run."""
    shapes = published.openvla(dino=DINO, siglip=SIGLIP, **LLAMA)
    folder = written(tmp_path / "openvla", shapes)
    config = configuration(lora=False)
    found = conversion.import_foreign([("openvla", folder)], config, accept_differences=False)
    theirs = conversion.Converted(found.params, found.meta, [])
    (tmp_path / "out").mkdir()
    conversion.write_foreign(theirs, "openvla", tmp_path / "out", 1e9)
    before, after = open_weights(folder), open_weights(tmp_path / "out")
    never_run = {n for n in before if "attn_pool" in n or n.startswith("vision") and ".norm." in n}
    assert set(before) - set(after) == never_run
    for name, array in after.items():
        np.testing.assert_array_equal(np.asarray(array), np.asarray(before[name]), err_msg=name)
