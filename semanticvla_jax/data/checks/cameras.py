"""Camera images: do they decode, what size are they, is anything in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from semanticvla_jax.data.checks import finding
from semanticvla_jax.data.checks.finding import Finding
from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.data.images import decode_jpeg
from semanticvla_jax.errors import InputError
from semanticvla_jax.robots import Camera, RobotSpec

LARGEST_SAMPLE = 60  # episodes whose images are looked at
EMPTY = 2.0  # grey levels of spread below which an image shows nothing


@dataclass(frozen=True)
class Moment:
    """One decoded frame: an image uint8[H, W, 3] per camera, None where it does not decode."""

    episode: int
    step: int
    images: tuple[np.ndarray | None, ...]


def moments(dataset: EpisodeSource, robot: RobotSpec, most: int = LARGEST_SAMPLE) -> list[Moment]:
    """First, middle and last frame of episodes spread over the dataset."""
    count = min(most, dataset.episode_count)
    chosen = [index * dataset.episode_count // count for index in range(count)]
    return [
        Moment(episode, step, _decode(dataset, robot, int(dataset.episode_start[episode]) + step))
        for episode in chosen
        for step in _three_steps(int(np.diff(dataset.episode_start)[episode]))
    ]


def _three_steps(length: int) -> tuple[int, int, int]:
    return 0, length // 2, length - 1


def _decode(dataset: EpisodeSource, robot: RobotSpec, frame: int):
    try:
        return tuple(map(_decode_one, dataset.jpegs(frame)))
    except InputError:
        return (None,) * len(robot.cameras)


def _decode_one(data: bytes) -> np.ndarray | None:
    try:
        return decode_jpeg(data)
    except ValueError:
        return None


def cameras(sample: list[Moment], robot: RobotSpec) -> list[Finding]:
    """One finding per camera, and one where two cameras show the same."""
    findings = [_camera(sample, index, camera) for index, camera in enumerate(robot.cameras)]
    for second in range(1, len(robot.cameras)):
        for first in range(second):
            if all(_same(moment.images[first], moment.images[second]) for moment in sample):
                findings.append(
                    finding.error(
                        f"camera {robot.cameras[second].key}",
                        f"the same images as {robot.cameras[first].key}",
                        expected=robot.cameras[second].description,
                        fix="write the dataset again with the right camera in each place",
                    )
                )
    return findings


def _camera(sample: list[Moment], index: int, camera: Camera) -> Finding:
    subject = f"camera {camera.key}"
    images = [moment.images[index] for moment in sample]
    broken = [
        f"episode {moment.episode} step {moment.step}"
        for moment in sample
        if moment.images[index] is None
    ]
    if broken:
        return finding.error(
            subject,
            f"{len(broken)} of {len(sample)} images do not decode: {finding.several(broken)}",
            expected="intact images",
            fix="copy or write the dataset again",
        )
    sizes = Counter(image.shape[:2] for image in images)
    found = " and ".join(f"{height} x {width}" for height, width in sizes) + " pixels"
    empty = sum(float(image.std()) < EMPTY for image in images)
    if camera.square and any(height != width for height, width in sizes):
        return finding.error(
            subject, found, expected="square images", fix="crop or pad them to squares"
        )
    if len(sizes) > 1:
        return finding.warning(
            subject, found, expected="one size", fix="write all images in one size"
        )
    if empty:
        return finding.warning(
            subject,
            f"{found}; {empty} of {len(images)} images show one plain colour",
            expected=camera.description,
            fix="check that the camera was on; remove those episodes",
        )
    if _never_changes(sample, index):
        return finding.warning(
            subject,
            f"{found}; first, middle and last frame are equal in every episode",
            expected="a view in which something moves",
            fix="check that new frames were recorded at every step",
        )
    return finding.ok(subject, f"{found}, {len(images)} images looked at")


def _never_changes(sample: list[Moment], index: int) -> bool:
    by_episode: dict[int, list[np.ndarray]] = {}
    for moment in sample:
        by_episode.setdefault(moment.episode, []).append(moment.images[index])
    return all(_same(images[0], image) for images in by_episode.values() for image in images[1:])


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is not None and b is not None and a.shape == b.shape and bool((a == b).all())
