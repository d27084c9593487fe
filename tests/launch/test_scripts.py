"""The launchers' scripts run for real, against executables that stand for the clusters'."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

NASTY = "a b'c\"d$HOME"  # what quoting must carry through unharmed
FLAGS = ["--", "--config=configs/libero_tiny.py", f"--config.data.path={NASTY}"]

# Takes the next line of its file; the last one stays.
NEXT = 'next() { head -1 "$1"; [ "$(wc -l <"$1")" = 1 ] || sed -i 1d "$1"; }\n'
GCLOUD = (
    NEXT
    + """
cd "$FOLDER"
case "$4" in
  list) echo "wait" >>calls; answer=$(next states)
    [ "$answer" = DOWN ] && exit 1
    [ "$answer" = ABSENT ] || echo "$answer" ;;
  ssh) kind=train; [[ "$*" == *"docker pull"* ]] && kind=prepare
    echo "$kind" >>calls; exit "$(next "$kind")" ;;
  create) echo create >>calls; exit "$(next create)" ;;
  *) echo "$4" >>calls ;;
esac
"""
)


@pytest.fixture
def cluster(tmp_path, monkeypatch, repository):
    """A folder of executables that come first on PATH, beside what they note."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(repository)
    return tmp_path


def install(cluster: Path, name: str, script: str) -> None:
    file = cluster / "bin" / name
    file.write_text(f"#!/usr/bin/env bash\n{script}\n")
    file.chmod(0o755)


def launch(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, timeout=60
    )


def on_tpu_vms(cluster, states, *, train=(0,), prepare=(0,), create=(0,), extra=()) -> tuple:
    """(exit status, calls without repetitions) of a run on TPU VMs in these states."""
    for name, lines in dict(states=states, train=train, prepare=prepare, create=create).items():
        (cluster / name).write_text("".join(f"{line}\n" for line in lines))
    install(cluster, "gcloud", GCLOUD)
    install(cluster, "sleep", "")
    done = launch(
        *("launch.tpu_vm", "--name=x", "--zone=z", "--tpu_type=v6e-16", "--image=i", *extra),
        *(*FLAGS, f"--workdir={cluster}"),
    )
    calls = (cluster / "calls").read_text().split()
    return done.returncode, [
        c for c, after in zip(calls, [*calls[1:], ""], strict=True) if c != after
    ]


def test_tpus_are_requested_awaited_used_and_deleted(cluster):
    states = ["ABSENT", "DOWN", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]
    assert on_tpu_vms(cluster, states, extra=["--delete"]) == (
        0,
        ["wait", "create", "wait", "prepare", "train", "delete"],
    )


def test_tpus_that_are_there_are_used_and_stay(cluster):
    assert on_tpu_vms(cluster, ["ACTIVE"]) == (0, ["wait", "prepare", "train"])


@pytest.mark.parametrize("status", [143, 255, 1], ids=["stopped", "not reached", "gcloud's error"])
def test_tpus_that_are_taken_away_are_requested_again(cluster, status):
    states = ["ACTIVE", "SUSPENDING", "SUSPENDED", "ABSENT", "PROVISIONING", "ACTIVE"]
    assert on_tpu_vms(cluster, states, train=[status, 0]) == (
        0,
        ["wait", "prepare", "train", "wait", "delete", "wait", "create", "wait"]
        + ["prepare", "train"],
    )


def test_a_lost_connection_is_tried_again_on_the_same_tpus(cluster):
    assert on_tpu_vms(cluster, ["ACTIVE"], train=[255, 0]) == (
        0,
        ["wait", "prepare", "train", "wait", "prepare", "train"],
    )


def test_a_run_that_fails_by_itself_is_not_tried_again(cluster):
    assert on_tpu_vms(cluster, ["ACTIVE"], train=[2], extra=["--delete"]) == (
        2,
        ["wait", "prepare", "train", "wait", "delete"],
    )


def test_workers_that_cannot_be_prepared_do_not_train(cluster):
    assert on_tpu_vms(cluster, ["ACTIVE"], prepare=[1]) == (1, ["wait", "prepare", "wait"])


def test_a_request_that_fails_ends_it(cluster):
    assert on_tpu_vms(cluster, ["ABSENT", "FAILED"]) == (1, ["wait", "create", "wait", "describe"])
    (cluster / "calls").unlink()
    assert on_tpu_vms(cluster, ["ABSENT"], create=[1]) == (1, ["wait", "create"])


def test_interrupted_runs_are_counted(cluster):
    status, calls = on_tpu_vms(cluster, ["ACTIVE"], train=[143], extra=["--runs=3"])
    assert status == 143 and calls.count("train") == 3


@pytest.mark.parametrize(("status", "queued_again"), [(0, False), (143, True), (2, False)], ids=str)
def test_a_slurm_job_queues_itself_again_when_it_was_stopped(cluster, status, queued_again):
    workdir = cluster / "work dir"
    install(cluster, "sbatch", 'SLURM_JOB_ID=7 bash "$1"')
    install(cluster, "srun", f'printf "%s\\n" "$@" >"$FOLDER/command"; exit {status}')
    install(cluster, "scontrol", 'echo "$*" >"$FOLDER/scontrol"')
    done = launch(
        *("launch.slurm", "--name=x", "--time=1:00:00", "--option=qos=high"),
        *(*FLAGS, f"--workdir={workdir}"),
    )
    assert done.returncode == status, done.stderr
    command = (cluster / "command").read_text().splitlines()
    assert command == [
        *("--kill-on-bad-exit=1", sys.executable, "-m", "semanticvla_jax.train", *FLAGS[1:]),
        *(f"--workdir={workdir}", "--stopped_status=143"),
    ]
    assert (cluster / "scontrol").exists() == queued_again
    if queued_again:
        assert (cluster / "scontrol").read_text() == "requeue 7\n"
    assert "#SBATCH --qos=high\n" in (workdir / "x.sbatch").read_text()


def test_xpk_gets_one_command(cluster):
    install(cluster, "xpk", 'printf "%s\\0" "$@" >"$FOLDER/words"; exit 5')
    done = launch(
        *("launch.xpk", "--name=x", "--cluster=c", "--tpu_type=v6e-16", "--image=i"),
        *(*FLAGS, "--workdir=/shared/x"),
    )
    assert done.returncode == 5
    *options, last = (cluster / "words").read_text().split("\0")[2:-1]
    assert "--tpu-type=v6e-16" in options and "--docker-image=i" in options
    assert shlex.split(last.removeprefix("--command=")) == [
        *("exec", "python", "-m", "semanticvla_jax.train", *FLAGS[1:]),
        *("--workdir=/shared/x", "--stopped_status=143"),
    ]
