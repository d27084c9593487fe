"""Several processes as one: started together, told together, ended together."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

GRACE = 10.0  # seconds that the others get to end after one has failed
LAST_LINES = 20
# Seconds after which the main thread looks up: Python runs handlers of signals there only, and does
# not wake it for one that comes just before it begins to wait.
LOOK_UP = 0.5
# Signals that are passed on, and as what: a closed terminal asks for an orderly end.
FORWARDED = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGINT: signal.SIGINT,
    signal.SIGHUP: signal.SIGTERM,
}


class Process:
    """One of several, whose output appears line by line behind its number.

    It leads a session of its own, so a terminal's Ctrl-C reaches it once, through `send`.
    """

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        ended: queue.SimpleQueue,
    ):
        self.number = number
        self.last_lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self._popen = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._pass_output_on, daemon=True)
        self._reader.start()
        threading.Thread(target=self._tell_end, args=(ended,), daemon=True).start()

    @property
    def session(self) -> int:
        return self._popen.pid

    @property
    def status(self) -> int:
        """Exit status as a shell gives it: 128 + n when signal n ended it."""
        code = self._popen.returncode
        return code if code >= 0 else 128 - code

    def send(self, number: int) -> None:
        """Signals the process itself, not those that it started."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """Ends it and all it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.session, signal.SIGKILL)

    def _pass_output_on(self) -> None:
        # newline="" keeps the \r of progress bars, and ends lines there too.
        for line in io.TextIOWrapper(self._popen.stdout, errors="replace", newline=""):
            self.last_lines.append(line.rstrip())
            with contextlib.suppress(OSError):  # nobody listens any more; the process goes on
                sys.stdout.write(f"[{self.number}] {line}")
                sys.stdout.flush()

    def _tell_end(self, ended: queue.SimpleQueue) -> None:
        self._popen.wait()
        self._reader.join(timeout=1)  # what it started may still hold its output open
        ended.put(self)


class Guard:
    """Kills the sessions it was told of when this process is gone, even by kill -9.

    It notices by the pipe between them, which the kernel closes then.
    """

    _SCRIPT = 'while read -r session; do all="$all -$session"; done; kill -s KILL -- $all'

    def __enter__(self) -> Guard:
        self._popen = subprocess.Popen(
            ["sh", "-c", self._SCRIPT],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_) -> None:
        self._popen.kill()
        self._popen.wait()

    def watch(self, process: Process) -> None:
        self._popen.stdin.write(f"{process.session}\n".encode())


def run_together(commands: Sequence[Sequence[str]], environments: Sequence[Mapping]) -> int:
    """Runs the commands to their end, in the main thread.

    SIGTERM and SIGINT are passed on to all; a second one kills them. When one fails, the others
    are ended, and its last lines are printed again.

    Returns:
      0, or the exit status of the first that failed.
    """
    events: queue.SimpleQueue = queue.SimpleQueue()  # signal numbers, and processes that ended
    previous = {number: signal.signal(number, lambda n, _: events.put(n)) for number in FORWARDED}
    processes: list[Process] = []
    try:
        with Guard() as guard:
            for number, (command, variables) in enumerate(zip(commands, environments, strict=True)):
                processes.append(Process(number, command, variables, events))
                guard.watch(processes[-1])
            return _until_all_ended(processes, events)
    finally:
        for process in processes:
            process.kill()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _until_all_ended(processes: Sequence[Process], events: queue.SimpleQueue) -> int:
    running, asked_to_stop, first_failure = set(processes), False, None
    while running:
        try:
            event = events.get(timeout=LOOK_UP)
        except queue.Empty:
            continue
        if isinstance(event, Process):
            running.discard(event)
            if event.status and not first_failure:
                first_failure = event
                if not asked_to_stop:
                    _end(running)
        else:
            for process in running:
                process.send(signal.SIGKILL if asked_to_stop else FORWARDED[event])
            asked_to_stop = True
    if not first_failure:
        return 0
    if not asked_to_stop:
        _tell(first_failure)
    return first_failure.status


def _end(processes: set[Process]) -> None:
    """SIGTERM now, SIGKILL after the grace."""
    processes = list(processes)
    for process in processes:
        process.send(signal.SIGTERM)
    timer = threading.Timer(GRACE, lambda: [process.kill() for process in processes])
    timer.daemon = True
    timer.start()


def _tell(process: Process) -> None:
    print(f"process {process.number} failed with exit status {process.status}.", file=sys.stderr)
    print("Its last lines:", *process.last_lines, sep="\n  ", file=sys.stderr, flush=True)
