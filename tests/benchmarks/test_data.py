"""The input benchmark runs to its last line on a small dataset."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_datasets") is None, reason="needs tensorflow-datasets"
)
def test_both_pipelines_are_measured(tmp_path):
    command = [sys.executable, "-m", "benchmarks.data", "--frames", "1000", "--seconds", "1"]
    finished = subprocess.run(
        [*command, "--folder", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    rows = re.findall(r"^(?:none|crop|colour) +(?:ours|tf.data) +\d+ ", finished.stdout, re.M)
    assert len(rows) == 6
    last = finished.stdout.splitlines()[-1]
    assert re.fullmatch(r"ratio=\d+\.\d+ rss_ratio=\d\.\d+", last)
