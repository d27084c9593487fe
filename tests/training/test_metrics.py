"""Metrics files survive kills without lost or doubled rows; W&B never stops a training."""

import struct
import sys
import time
import types

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from semanticvla_jax.errors import InputError
from semanticvla_jax.training import distributed, metrics


def test_rows_after_the_checkpoint_are_written_again_once(tmp_path):
    first = metrics.MetricsWriter(tmp_path)
    for step in (1, 2, 3):
        first.write(step, {"loss": float(step)})
    first.close()
    second = metrics.MetricsWriter(tmp_path, resume_step=2)
    second.write(3, {"loss": 30.0})
    second.close()
    rows = metrics.read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_half_written_last_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    metrics.MetricsWriter(tmp_path, resume_step=5).close()
    assert path.read_text() == '{"step": 1, "loss": 0.5}\n'


def events(directory):
    found = []
    for path in sorted(directory.glob("events*")):
        content = path.read_bytes()
        place = 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            found.append(Event.FromString(content[place + 12 : place + 12 + length]))
            place += 16 + length
    return found


def test_tensorboard_has_every_row_at_once(tmp_path):
    """Before the writer is closed; and a resumed run says which steps come again."""
    writer = metrics.MetricsWriter(tmp_path, resume_step=2)
    writer.write(3, {"loss": 0.5, "l1/rotation": 0.25})
    version, begin, row = events(tmp_path / "tensorboard")
    assert version.file_version == "brain.Event:2"
    assert (begin.step, begin.session_log.status) == (3, SessionLog.START)
    assert row.step == 3
    values = {value.tag: value.simple_value for value in row.summary.value}
    assert values == {"loss": 0.5, "l1/rotation": 0.25}
    writer.close()


class Package(types.ModuleType):
    """Stands for wandb; `unreachable` runs begin offline only, `broken` ones log nothing."""

    def __init__(self, *, unreachable: bool = False, broken: bool = False, known: bool = True):
        super().__init__("wandb")
        self.unreachable, self.broken, self.known = unreachable, broken, known
        self.begun, self.rows, self.finished = [], [], 0
        self.Settings = dict
        error = type("Error", (Exception,), {})
        self.errors = types.SimpleNamespace(
            Error=error,
            UsageError=type("UsageError", (error,), {}),
            AuthenticationError=type("AuthenticationError", (error,), {}),
        )

    def init(self, *, mode="online", **arguments):
        if not self.known:
            raise self.errors.UsageError("No API key configured.")
        if self.unreachable and mode == "online":
            raise self.errors.Error("connection refused")
        self.begun.append(arguments | {"mode": mode})
        return self

    def teardown(self):
        assert not self.begun

    def log(self, scalars, step):
        if self.broken:
            raise ConnectionError("the service is gone")
        self.rows.append((step, scalars))

    def finish(self):
        self.finished += 1


def log_two_rows(workdir, monkeypatch, package, project="vla") -> None:
    monkeypatch.setitem(sys.modules, "wandb", package)
    writer = metrics.open_writer(workdir, 0, {"wandb": project, "batch_size": 4})
    for step in (1, 2):
        writer.write(step, {"loss": 1.0 / step})
    writer.close()
    assert [row["step"] for row in metrics.read_metrics(workdir / "metrics.jsonl")] == [1, 2]


def test_wandb_gets_every_row_and_a_later_run_continues_it(tmp_path, monkeypatch):
    package = Package()
    log_two_rows(tmp_path, monkeypatch, package)
    log_two_rows(tmp_path, monkeypatch, package)
    assert package.rows == [(1, {"loss": 1.0}), (2, {"loss": 0.5})] * 2
    assert package.finished == 2
    first, second = package.begun
    assert first == second and first["project"] == "vla" and first["mode"] == "online"
    assert first["resume"] == "allow" and len(first["id"]) == 8
    assert first["config"]["batch_size"] == 4 and first["dir"] == str(tmp_path)


def test_wandb_is_not_touched_unless_asked_for(tmp_path, monkeypatch):
    package = Package()
    log_two_rows(tmp_path, monkeypatch, package, project="")
    assert not package.begun and not (tmp_path / "wandb_id").exists()


def test_only_the_leading_process_writes(tmp_path, monkeypatch):
    package = Package()
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.setattr(distributed, "leads", lambda: False)
    writer = metrics.open_writer(tmp_path, 0, {"wandb": "vla"})
    writer.write(1, {"loss": 1.0})
    writer.close()
    assert not package.begun and not list(tmp_path.iterdir())


def test_without_a_network_wandb_logs_offline(tmp_path, monkeypatch, capsys):
    package = Package(unreachable=True)
    log_two_rows(tmp_path, monkeypatch, package)
    assert [begun["mode"] for begun in package.begun] == ["offline"]
    assert len(package.rows) == 2 and "`wandb sync`" in capsys.readouterr().out


def test_a_failure_of_wandb_never_stops_training(tmp_path, monkeypatch):
    package = Package(broken=True)
    log_two_rows(tmp_path, monkeypatch, package)
    assert not package.rows and not package.finished


@pytest.mark.parametrize(
    ("package", "fix"),
    [(None, "requirements/wandb.txt"), (Package(known=False), "wandb login")],
    ids=["not installed", "no account"],
)
def test_wandb_that_cannot_begin_is_refused(tmp_path, monkeypatch, package, fix):
    monkeypatch.setitem(sys.modules, "wandb", package)
    with pytest.raises(InputError, match=fix):
        metrics.open_writer(tmp_path, 0, {"wandb": "vla"})


def test_the_real_package_logs_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs requirements/wandb.txt")
    monkeypatch.setenv("WANDB_MODE", "offline")
    writer = metrics.open_writer(tmp_path, 0, {"wandb": "vla"})
    writer.write(1, {"loss": 1.0})
    writer.close()
    run = (tmp_path / "wandb_id").read_text()
    (stored,) = (tmp_path / "wandb").glob(f"offline-run-*-{run}/run-{run}.wandb")
    deadline = time.monotonic() + 60  # written by W&B's own process
    while b"loss" not in stored.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
