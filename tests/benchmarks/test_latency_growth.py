"""How latency grows: what a point changes, and that one is measured, shown and drawn."""

from __future__ import annotations

import numpy as np
from PIL import Image

from benchmarks import random_policy, roofline
from benchmarks.latency_growth import shown
from benchmarks.latency_growth.measure import Measured, measure
from benchmarks.latency_growth.points import points
from configs import semanticvla_libero
from semanticvla_jax.models import abstract
from tests.smallest import smallest_config


def measured(point, seconds) -> Measured:
    return Measured(point, seconds, positions=9, flops=10**9, least=0.001)


def test_each_axis_changes_one_thing():
    config = semanticvla_libero.get_config("small")
    model = abstract.complete(config)
    values = {"ratios": (4, 32), "cameras": (3,), "chunks": (5,), "batches": (2,)}
    few, many, cameras, chunk, batch = points(config, model, values)
    assert few.model["pruners"]["dino"]["queries"] == 64
    assert many.model["pruners"]["siglip"]["anchors"] == 8
    assert model["pruners"]["dino"]["queries"] == 32 and model["coupler"]["chunk"] == 8
    assert len(cameras.robot.cameras) == 3 and len(set(cameras.robot.camera_names)) == 3
    assert chunk.robot.chunk_length == chunk.model["coupler"]["chunk"] == 5
    assert batch.batch == 2 and batch.model == model


def test_a_point_is_measured_and_drawn(tmp_path):
    config = smallest_config("nowhere")
    model = random_policy.at_precision(abstract.complete(config), "float32")
    machine = roofline.machine(copy=1e9, product=1e9)
    two, four = (
        measure(point, machine, calls=2) for point in points(config, model, {"batches": (2, 4)})
    )
    assert len(two.seconds) == 2 and two.median > 0
    assert four.flops == 2 * two.flops and four.positions == two.positions
    shown.save_picture([two, four], "smallest", tmp_path / "growth.png")
    assert np.asarray(Image.open(tmp_path / "growth.png").convert("L")).std() > 1


def test_the_table_and_the_last_line_by_hand():
    config = smallest_config("nowhere")
    model = abstract.complete(config)
    values = {"cameras": (1, 2), "batches": (4,)}
    one, two, batch = points(config, model, values)
    rows = [measured(one, [0.002] * 3), measured(two, [0.005] * 3), measured(batch, [0.004] * 3)]
    lines = shown.table(rows).splitlines()
    assert lines[2].split()[-6:] == ["9", "1.0", "5.00", "5.00", "5.00", "1.00"]
    assert lines[3].split()[-4:] == ["4.00", "4.00", "1.00", "1.00"]
    assert shown.last_line(rows) == "cameras=2.50 batches=1.00"


def test_every_camera_gets_its_positions():
    config = smallest_config("nowhere")
    (three,) = points(config, abstract.complete(config), {"cameras": (3,)})
    assert three.model["dino"]["cameras"] == three.model["siglip"]["cameras"] == 3
