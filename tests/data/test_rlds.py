"""The index over TFDS files, and every way in which a dataset can be wrong."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest

from semanticvla_jax.data import images
from semanticvla_jax.data.rlds import open_dataset, open_datasets
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import ALOHA, LIBERO
from tests.data.tfds_writer import INSTRUCTIONS, make_episode, write_dataset


@pytest.fixture
def own_copy(tiny_dataset, tmp_path):
    """A copy of the tiny dataset that a test may damage."""
    return shutil.copytree(tiny_dataset, tmp_path / "libero_object_no_noops" / "1.0.0")


def open_it(version):
    return open_dataset(version, LIBERO)


def test_everything_is_read_in_file_order(tiny_dataset):
    dataset = open_it(tiny_dataset)
    order = [0, 2, 4, 1, 3]
    episodes = [make_episode(number) for number in order]
    assert dataset.name == "libero_object_no_noops"
    assert dataset.episode_start.tolist() == [0, 12, 24, 36, 48, 60]
    assert dataset.frame_file.tolist() == [0] * 36 + [1] * 24
    assert dataset.instructions == tuple(INSTRUCTIONS[number % 2] for number in order)
    np.testing.assert_array_equal(dataset.actions, np.concatenate([e["action"] for e in episodes]))
    np.testing.assert_array_equal(dataset.states, np.concatenate([e["state"] for e in episodes]))
    for frame in (0, 11, 12, 59):
        stored = episodes[frame // 12]["images"][frame % 12]
        assert dataset.jpegs(frame) == [images.encode_jpeg(image) for image in stored]


def test_an_index_travels_to_worker_processes(tiny_dataset):
    dataset = open_it(tiny_dataset)
    before = dataset.jpegs(40)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.jpegs(40) == before
    np.testing.assert_array_equal(copy.actions, dataset.actions)


def test_a_dataset_is_found_from_any_level(tiny_dataset, tmp_path):
    for path in (tiny_dataset, tiny_dataset.parent, tiny_dataset.parent.parent):
        assert [dataset.name for dataset in open_datasets(path, LIBERO)] == [
            "libero_object_no_noops"
        ]
    write_dataset(tmp_path, name="libero_b")
    write_dataset(tmp_path, name="libero_a")
    assert [dataset.name for dataset in open_datasets(tmp_path, LIBERO)] == ["libero_a", "libero_b"]


def test_the_newest_version_is_taken(tmp_path):
    old = write_dataset(tmp_path)
    shutil.copytree(old, old.with_name("1.10.0"))
    shutil.copytree(old, old.with_name("1.9.0"))
    (dataset,) = open_datasets(tmp_path, LIBERO)
    assert dataset.files[0].path.parent.name == "1.10.0"


def test_missing_dataset(tmp_path):
    with pytest.raises(InputError, match="no such directory"):
        open_datasets(tmp_path / "nowhere" / "deep", LIBERO)
    with pytest.raises(InputError, match="an empty directory"):
        open_datasets(tmp_path, LIBERO)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="only notes.txt"):
        open_datasets(tmp_path, LIBERO)


def test_empty_dataset(tmp_path):
    version = write_dataset(tmp_path, [])
    with pytest.raises(InputError, match="empty dataset .*found 0 episodes"):
        open_it(version)


def test_missing_shard(own_copy):
    next(own_copy.glob("*-00001-of-*")).unlink()
    with pytest.raises(InputError, match="found 1 tfrecord files, expected 2, among them .*00001"):
        open_it(own_copy)


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.01])
def test_truncated_file(own_copy, kept):
    path = next(own_copy.glob("*-00001-of-*"))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=f"truncated (file|TFRECORD) .*{path.name}"):
        open_it(own_copy)


def test_file_cut_between_records(own_copy):
    info = json.loads((own_copy / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["3", "3"]
    (own_copy / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="found 2 episodes, expected 3"):
        open_it(own_copy)


def test_zero_byte_file(own_copy):
    next(own_copy.glob("*-00000-of-*")).write_bytes(b"")
    with pytest.raises(InputError, match="0 bytes"):
        open_it(own_copy)


@pytest.mark.parametrize("what, dim", [("action", "gripper"), ("state", "right_finger")])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite(tmp_path, what, dim, value):
    episodes = [make_episode(0), make_episode(1)]
    episodes[1][what][7, -1] = value
    version = write_dataset(tmp_path, episodes, shards=1)
    message = f"{what} at step 7 of episode 1 of .*00000-of-00001: found {dim} = {value}"
    with pytest.raises(InputError, match=message):
        open_it(version)


@pytest.mark.parametrize("declared", [(32, 48, 3), (32, 32, 1), (32, 32)])
def test_declared_image_shape_the_robot_does_not_have(tmp_path, declared):
    version = write_dataset(tmp_path, declared_size=declared)
    with pytest.raises(InputError, match=r"image shape of .*observation/image.*\(size, size, 3\)"):
        open_it(version)


def test_images_of_another_size_than_declared(tmp_path):
    version = write_dataset(tmp_path, declared_size=(64, 64, 3))
    with pytest.raises(InputError, match=r"found \(32, 32, 3\), expected \(64, 64, 3\)"):
        open_it(version)


def test_another_robots_dataset(tiny_dataset):
    with pytest.raises(InputError, match=r"steps/action of .*\(7,\).*\(14,\) for robot 'aloha'"):
        open_dataset(tiny_dataset, ALOHA)


def test_missing_camera(own_copy):
    features = (own_copy / "features.json").read_text()
    (own_copy / "features.json").write_text(features.replace("wrist_image", "hand_image"))
    with pytest.raises(InputError, match="wrist_image.*no such image; there are .*hand_image"):
        open_it(own_copy)


def test_unreadable_declaration(own_copy):
    (own_copy / "features.json").write_text("{")
    with pytest.raises(InputError, match="features.json"):
        open_it(own_copy)


def test_file_format_without_random_access(own_copy):
    info = (own_copy / "dataset_info.json").read_text()
    (own_copy / "dataset_info.json").write_text(info.replace('"tfrecord"', '"riegeli"'))
    with pytest.raises(InputError, match="'riegeli', expected one of tfrecord, array_record"):
        open_it(own_copy)


def test_images_that_are_not_jpeg(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.data.tfds_writer.encode_jpeg", lambda image: b"\x89PNG....")
    version = write_dataset(tmp_path)
    with pytest.raises(InputError, match="image image 0 of episode 0 .*a JPEG image"):
        open_it(version)
