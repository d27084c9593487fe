"""LeRobot datasets read back number for number and frame for frame, and every way they break."""

from __future__ import annotations

import json
import pickle
import shutil
import threading

import numpy as np
import pytest
from ml_collections import ConfigDict

from semanticvla_jax.data import chunks
from semanticvla_jax.data.check import check
from semanticvla_jax.data.checks.finding import Verdict
from semanticvla_jax.data.images import decode_jpeg
from semanticvla_jax.data.loading import open_training_data
from semanticvla_jax.data.normalization import DatasetStatistics
from semanticvla_jax.data.sources import open_datasets
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import ALOHA, LIBERO
from semanticvla_jax.text.tokenizers import PromptTokenizer
from tests.data.plausible import plausible_episode
from tests.data.tfds_writer import write_dataset

pytest.importorskip("av", reason="needs PyAV (requirements/lerobot.txt)")
pytest.importorskip("pyarrow", reason="needs pyarrow (requirements/lerobot.txt)")

from tests.data.lerobot_writer import CAMERAS, write_version_2, write_version_3  # noqa: E402

WRITERS = {"v2.1": write_version_2, "v3.0": write_version_3}
CODEC_ERROR = 4.0  # grey levels, mean over an image


@pytest.fixture(scope="module")
def episodes():
    """Five of 30, 31, ... 34 steps; two bars tell the step, so that no frame is like another."""
    episodes = [plausible_episode(number, length=30 + number, size=64) for number in range(5)]
    for episode in episodes:
        for step, views in enumerate(episode["images"]):
            row, column = (8 * place for place in divmod(step, 8))
            views[:, :, column : column + 8] = 250
            views[:, row : row + 8] = 5
    return episodes


@pytest.fixture(scope="module", params=WRITERS)
def stored(request, episodes, tmp_path_factory):
    return WRITERS[request.param](tmp_path_factory.mktemp(request.param) / "kitchen", episodes)


@pytest.fixture
def own_copy(stored, tmp_path):
    return shutil.copytree(stored, tmp_path / "copy")


def open_it(path, robot=LIBERO):
    (dataset,) = open_datasets(path, robot)
    return dataset


def difference(jpeg: bytes, image: np.ndarray) -> float:
    return float(np.abs(decode_jpeg(jpeg).astype(int) - image).mean())


def test_numbers_are_exact(stored, episodes):
    dataset = open_it(stored)
    assert dataset.name == "kitchen" and dataset.camera_size == 64
    assert dataset.episode_start.tolist() == [0, 30, 61, 93, 126, 160]
    assert dataset.episode_count == 5 and dataset.frame_count == 160
    assert dataset.instructions == tuple(episode["instruction"] for episode in episodes)
    for name, values in (("state", dataset.states), ("action", dataset.actions)):
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, np.concatenate([e[name] for e in episodes]))


def test_every_frame_in_any_order(stored, episodes):
    """The right one: frames differ by several times the codec's error."""
    dataset = open_it(stored)
    images = np.concatenate([episode["images"] for episode in episodes])
    assert np.abs(np.diff(images.astype(int), axis=0)).mean((2, 3, 4)).min() > 3 * CODEC_ERROR
    order = np.random.default_rng(0).permutation(dataset.frame_count)
    for frame in (*order, *range(60, 70)):
        for camera, jpeg in enumerate(dataset.jpegs(int(frame))):
            assert difference(jpeg, images[frame, camera]) < CODEC_ERROR


def test_lerobots_default_codec(tmp_path, episodes):
    dataset = open_it(write_version_3(tmp_path / "av1", episodes[:2], codec="libsvtav1"))
    for frame in (45, 3, 4, 29, 30, 60):
        episode, step = divmod(frame, 30) if frame < 30 else (1, frame - 30)
        for camera, jpeg in enumerate(dataset.jpegs(frame)):
            assert difference(jpeg, episodes[episode]["images"][step, camera]) < CODEC_ERROR


@pytest.mark.parametrize("version", WRITERS)
def test_images_inside_parquet_files(tmp_path, episodes, version):
    dataset = open_it(WRITERS[version](tmp_path / "png", episodes, images=True))
    images = np.concatenate([episode["images"] for episode in episodes])
    for frame in (0, 100, 17, 16, 15, 159):
        for camera, jpeg in enumerate(dataset.jpegs(frame)):
            assert difference(jpeg, images[frame, camera]) < CODEC_ERROR


def test_threads_and_copies_read_alike(stored):
    dataset = open_it(stored)
    expected = [dataset.jpegs(frame) for frame in range(0, 160, 8)]
    copy = pickle.loads(pickle.dumps(dataset))
    found: dict[int, list] = {}

    def read(thread: int) -> None:
        found[thread] = [copy.jpegs(frame) for frame in range(0, 160, 8)]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(3)] == [expected] * 3


def test_the_same_chunks_as_from_rlds(stored, episodes, tmp_path):
    version = write_dataset(tmp_path, episodes, shards=1)
    ours, theirs = (source_of(open_it(path)) for path in (stored, version))
    assert len(ours) == len(theirs) == 160 - 5 * 7
    for index in range(0, len(ours), 9):
        sample, other = ours[index], theirs[index]
        assert sample.keys() == other.keys()
        for jpeg, original in zip(sample.pop("jpegs"), other.pop("jpegs"), strict=True):
            assert difference(jpeg, decode_jpeg(original)) < CODEC_ERROR
        for key, value in sample.items():
            np.testing.assert_array_equal(value, other[key], err_msg=key)


def source_of(dataset):
    statistics = DatasetStatistics.of(
        LIBERO, dataset.states, dataset.actions, dataset.episode_count
    )
    tokenizer = PromptTokenizer()
    every = range(dataset.episode_count)
    return chunks.ChunkSource.of(
        dataset, every, statistics, LIBERO, tokenizer, chunks.complete_chunks
    )


def test_training_reads_it_by_its_path(stored):
    config = ConfigDict({"path": str(stored), "image_size": 32})
    data = open_training_data(config, LIBERO, 4, 0)
    (batch,) = data.peek()
    assert batch["images"].shape == (4, 2, 32, 32, 3)
    assert data.description.startswith("kitchen: 5 episodes, 160 steps, 2 instructions, 125 ")


def test_the_check_reads_it_too(stored, own_copy):
    findings = {finding.subject: finding for finding in check(stored, LIBERO)}
    bad = [str(each) for each in findings.values() if each.verdict is not Verdict.OK]
    assert len(bad) == 1 and "5 episodes" in bad[0]  # few of them
    video = sorted(own_copy.glob("videos/**/*.mp4"))[0]
    video.write_bytes(video.read_bytes()[:-2000])
    errors = [each for each in check(own_copy, LIBERO) if each.verdict is Verdict.ERROR]
    assert errors and all(str(video) in each.subject for each in errors)


def test_a_directory_of_several(stored, tmp_path):
    for name in ("b", "a"):
        shutil.copytree(stored, tmp_path / name)
    assert [dataset.name for dataset in open_datasets(tmp_path, LIBERO)] == ["a", "b"]


def test_missing_and_damaged_files(own_copy):
    data = sorted(own_copy.glob("data/**/*.parquet"))[-1]
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"LeRobot data file .*{data.name}"):
        open_it(own_copy)
    data.write_bytes(whole)
    video = sorted(own_copy.glob("videos/**/*.mp4"))[-1]
    short = sorted(own_copy.glob("videos/**/*.mp4"))[0]
    kept = video.read_bytes()
    video.unlink()
    with pytest.raises(InputError, match=f"video .*{video.name}: found FileNotFoundError"):
        open_it(own_copy)
    video.write_bytes(kept)
    write_short_video(short)
    with pytest.raises(InputError, match=f"video .*{short.name}: found 3 frames, expected at lea"):
        open_it(own_copy)


def write_short_video(path):
    from tests.data.lerobot_writer import write_video

    write_video(path, np.zeros((3, 64, 64, 3), np.uint8))


def test_damage_inside_a_video_names_file_and_time(stored, own_copy):
    video = sorted(own_copy.glob(f"videos/**/{CAMERAS[0]}/**/*.mp4"))[0]
    content = bytearray(video.read_bytes())
    media = content.index(b"mdat") + 800
    content[media : media + 30_000] = bytes(len(content[media : media + 30_000]))
    video.write_bytes(content)
    problems = []
    try:
        dataset = open_it(own_copy)
        for frame in range(30):
            dataset.jpegs(frame)
    except InputError as problem:
        problems.append(str(problem))
    assert problems and f"video {video}" in problems[0]


def test_nan_is_named(tmp_path, episodes):
    broken = [dict(episode, action=episode["action"].copy()) for episode in episodes]
    broken[3]["action"][7, 1] = np.nan
    path = write_version_2(tmp_path / "nan", broken, images=True)
    with pytest.raises(
        InputError, match="action at step 7 of episode 3 in .*: found delta_y = nan"
    ):
        open_it(path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"codebase_version": "v1.6"}, "found format v1.6, expected v2.0, v2.1 or v3.0"),
        ({"fps": None}, "declarations of LeRobot dataset"),
        ({"features": {}}, "camera 'image' in LeRobot dataset"),
    ],
)
def test_wrong_declarations(own_copy, change, message):
    path = own_copy / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        open_it(own_copy)


def test_unreadable_declarations(own_copy):
    for path in own_copy.glob("meta/tasks.*"):
        path.write_text("{")
    with pytest.raises(InputError, match="declarations of LeRobot dataset"):
        open_it(own_copy)


def test_another_robots_dataset(stored, own_copy):
    with pytest.raises(InputError, match="camera 'left_wrist_image'.*exactly one of"):
        open_it(stored, ALOHA)
    path = own_copy / "meta" / "info.json"
    path.write_text(path.read_text().replace('"shape": [8]', '"shape": [6]'))
    with pytest.raises(InputError, match=r"observation.state of .*\(6,\), expected shape \(8,\)"):
        open_it(own_copy)
