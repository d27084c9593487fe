"""Datasets written by the `lerobot` package itself, in an environment of its own, are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from semanticvla_jax.data.images import decode_jpeg
from semanticvla_jax.data.sources import open_datasets
from semanticvla_jax.robots import LIBERO

# Format: the package that writes it, and what its dataset code needs; 450 MB installed.
PACKAGES = {
    "v2.1": ("lerobot==0.3.3", "datasets==3.6.0", "av==18.1.0", "numpy==2.2.6"),
    "v3.0": ("lerobot==0.4.4", "datasets==4.8.5", "av==15.1.0", "numpy==2.2.6"),
}
NEEDED = ("jsonlines", "packaging", "pillow", "pandas", "pyarrow", "huggingface-hub", "imageio")
NEEDED += ("draccus==0.10.0", "deepdiff", "termcolor", "einops")
WRITER = Path(__file__).with_name("lerobot_package.py")


@pytest.fixture(scope="module", params=PACKAGES)
def environment(request, tmp_path_factory):
    """(format, its Python)."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("needs uv beside this Python, as launch/setup.sh installs it")
    directory = tmp_path_factory.mktemp("lerobot") / "venv"
    lerobot, *others = PACKAGES[request.param]

    def run(*arguments):
        environment = os.environ | {"VIRTUAL_ENV": str(directory)}
        subprocess.run([str(uv), *arguments], check=True, env=environment)

    run("venv", "-q", "--python", sys.executable, str(directory))
    run("pip", "install", "-q", "--no-deps", lerobot)
    run("pip", "install", "-q", *others, *NEEDED)
    return request.param, directory / "bin" / "python"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["video", "image"])
def test_what_the_package_writes_is_what_we_read(environment, kind, tmp_path):
    version, python = environment
    root = tmp_path / "soup"
    subprocess.run([str(python), str(WRITER), str(root), kind], check=True, timeout=500)
    assert json.loads((root / "meta/info.json").read_text())["codebase_version"] == version
    (dataset,), written = open_datasets(root, LIBERO), np.load(f"{root}.npz")
    assert dataset.episode_start.tolist() == [0, 9, 19, 30, 42]
    np.testing.assert_array_equal(dataset.states, written["state"])
    np.testing.assert_array_equal(dataset.actions, written["action"])
    assert list(dataset.instructions) == [written["task"][n] for n in dataset.episode_start[:-1]]
    for frame in range(dataset.frame_count):
        for jpeg, key in zip(dataset.jpegs(frame), LIBERO.camera_names, strict=True):
            error = np.abs(decode_jpeg(jpeg).astype(int) - written[key][frame]).mean()
            assert error < 3  # grey levels; the next frame differs by at least 3.7
