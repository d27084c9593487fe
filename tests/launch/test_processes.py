"""Processes that start, hear signals and end together; trivial programs stand for training."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

BEGIN = "import os, signal, sys, time, subprocess\nnumber = int(os.environ['NUMBER'])\n"
# Little by little: Python does not notice a signal that comes just before it falls asleep.
REST = "print('pid', os.getpid())\nfor _ in range(600):\n    time.sleep(0.1)\n"
WAIT = BEGIN + REST
WITH_A_WORKER = BEGIN + (
    "worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('pid', worker.pid)\n"
)
SAVE_AND_STOP = BEGIN + (
    "def stop(number, frame):\n"
    "    print('saved')\n"
    "    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, stop)\n" + REST
)
DEAF = BEGIN + "signal.signal(signal.SIGTERM, lambda *_: print('heard'))\n" + REST


@contextlib.contextmanager
def together(repository, count: int, program: str):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.launch.together", str(count), program],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def pids(process, count: int) -> list[tuple[int, int]]:
    """(number, process id) of so many that were printed."""
    found = []
    while len(found) < count:
        number, word, pid = process.stdout.readline().split()
        assert word == "pid"
        found.append((int(number.strip("[]")), int(pid)))
    return found


def all_gone(wanted, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while any(lives(pid) for _, pid in wanted):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_lines_carry_the_number_of_their_process(repository):
    program = BEGIN + "sys.stdout.write(f'bar {number}\\rbar\\r')\nprint('done', file=sys.stderr)\n"
    with together(repository, 2, program) as process:
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and errors == ""
    # Read as text, a progress bar's \r counts as the end of a line.
    assert sorted(output.splitlines()) == sorted(
        f"[{number}] {line}" for number in (0, 1) for line in (f"bar {number}", "bar", "done")
    )


def test_sigterm_reaches_all_and_the_status_is_theirs(repository):
    with together(repository, 3, SAVE_AND_STOP) as process:
        pids(process, 3)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and errors == ""
    assert sorted(output.splitlines()) == ["[0] saved", "[1] saved", "[2] saved"]


def test_ctrl_c_is_passed_on_as_such(repository):
    with together(repository, 2, WAIT) as process:
        pids(process, 2)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert output.count("KeyboardInterrupt") >= 2


def test_a_second_signal_kills(repository):
    with together(repository, 2, DEAF) as process:
        started = pids(process, 2)
        process.send_signal(signal.SIGTERM)
        assert {process.stdout.readline() for _ in range(2)} == {"[0] heard\n", "[1] heard\n"}
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGKILL
    assert all_gone(started)


def test_one_that_fails_ends_all_with_its_status_and_last_lines(repository):
    program = BEGIN + (
        "if number == 1:\n"
        "    for line in range(30):\n"
        "        print('line', line)\n"
        "    sys.exit(3)\n" + REST
    )
    with together(repository, 3, program) as process:
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert errors.splitlines() == [
        "process 1 failed with exit status 3.",
        "Its last lines:",
        *(f"  line {line}" for line in range(10, 30)),
    ]
    started = [(0, int(line.split()[2])) for line in output.splitlines() if " pid " in line]
    assert all_gone(started)


def test_the_deaf_are_killed_when_another_fails(repository):
    program = "import os\nif os.environ['NUMBER'] == '0':\n    os.abort()\n" + DEAF
    with together(repository, 2, program) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGABRT
    assert errors.startswith("process 0 failed with exit status 134.")


def test_one_that_is_killed_counts_as_failed(repository):
    with together(repository, 2, WAIT) as process:
        started = pids(process, 2)
        os.kill(dict(started)[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGKILL
    assert errors.startswith("process 0 failed with exit status 137.")
    assert all_gone(started)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "SIGTERM"])
def test_no_orphans(repository, number):
    with together(repository, 3, WITH_A_WORKER + WAIT) as process:
        started = pids(process, 6)  # of each process, and of its worker
        process.send_signal(number)
        process.wait(timeout=30)
        assert all_gone(started)


def test_what_a_process_started_ends_with_it(repository):
    with together(repository, 2, WITH_A_WORKER) as process:
        workers = pids(process, 2)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert all_gone(workers)
