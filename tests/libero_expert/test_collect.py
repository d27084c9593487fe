from __future__ import annotations

import functools
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.libero_expert import collect as collecting
from data.libero_expert.collect import Collection, CollectionStopped
from data.libero_expert.files import UNFINISHED, single_writer, write_atomically
from data.libero_expert.staging import Staging
from semanticvla_jax.errors import InputError
from tests.libero_expert import fakes


def run(
    directory: Path, episodes: int, workers: int, make_recorder=fakes.FakeRecorder, tasks=(0, 3)
):
    wanted = fakes.configuration(episodes, tasks)
    return Collection(wanted, Staging(directory, wanted), make_recorder, workers).run()


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_kill_and_rerun_loses_and_doubles_nothing(tmp_path, repository):
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.libero_expert.fakes", str(killed), "12", "2", "0.1"],
        cwd=repository,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while len(list(killed.glob("task*"))) < 6 and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in killed.glob("task*")}
    assert 6 <= len(before) < 24
    (killed / f"{UNFINISHED}999-task00.npz").write_bytes(b"half an epis")

    run(killed, 12, workers=1)
    run(undisturbed, 12, workers=2)
    assert content(killed) == content(undisturbed)
    after = {path.name: path.stat().st_mtime_ns for path in killed.glob("task*")}
    repeated = [name for name in before if before[name] != after[name]]
    # Workers outlive a killed parent by the attempt they were running; that one may be redone.
    assert len(repeated) <= 2


def test_a_crashed_worker_is_replaced_and_loses_nothing(tmp_path, capsys):
    markers = tmp_path / "markers"
    markers.mkdir()
    make_recorder = functools.partial(fakes.CrashingRecorder, directory=markers)
    schedule = run(tmp_path / "staging", 5, 2, make_recorder, tasks=(0,))
    attempts = schedule.attempts(0)
    assert list(attempts) == list(range(len(attempts)))
    assert attempts[4] is False, "an attempt that always crashes counts as failed"
    assert schedule.successes(0) == 5
    printed = capsys.readouterr().out
    assert "ended with exit code -9" in printed and "a hiccup" in printed
    assert printed.count("giving it up") == 1


def test_a_general_crash_stops_the_collection(tmp_path, monkeypatch):
    monkeypatch.setattr(collecting, "TRIES", 1)
    with pytest.raises(CollectionStopped, match="no simulator here"):
        run(tmp_path / "staging", 3, 3, fakes.broken_recorder)


def test_atomic_files_leave_nothing_behind(tmp_path):
    write_atomically(tmp_path / "file", b"old")
    write_atomically(tmp_path / "file", b"new")
    assert content(tmp_path) == {"file": b"new"}


def test_two_writers_are_refused(tmp_path):
    with (
        single_writer(tmp_path),
        pytest.raises(InputError, match="one writer"),
        single_writer(tmp_path),
    ):
        pass
    with single_writer(tmp_path):
        pass
