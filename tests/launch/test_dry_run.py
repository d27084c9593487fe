"""What `--dry_run` prints is what docs/launch.md shows; `REWRITE=1` writes the document anew."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys

import pytest

BLOCK = re.compile(r"```console\n(\$ (?:.*\\\n)*.*\n)((?:.*\n)*?)```\n")
WHERE = "/shared/semanticvla_jax"


def printed(command: str, repository, monkeypatch, capsys) -> str:
    """Output of a command of the document, as in a checkout at WHERE."""
    words = shlex.split(command.removeprefix("$ ").replace("\\\n", " "))
    monkeypatch.chdir(repository)
    monkeypatch.setenv("JAX_PLATFORMS", "")
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    assert words[:2] == ["python", "-m"] and "--dry_run" in words
    importlib.import_module(words[2]).main(words[3:])
    output = capsys.readouterr().out.replace(sys.executable, f"{WHERE}/.venv/bin/python")
    return output.replace(str(repository), WHERE)


@pytest.fixture
def document(repository):
    return repository / "docs" / "launch.md"


def test_the_document_shows_what_is_printed(document, repository, monkeypatch, capsys):
    def anew(block: re.Match) -> str:
        output = printed(block[1], repository, monkeypatch, capsys)
        assert subprocess.run(["bash", "-n"], input=output, text=True).returncode == 0
        return f"```console\n{block[1]}{output}```\n"

    before = document.read_text()
    assert len(BLOCK.findall(before)) == 4
    after = BLOCK.sub(anew, before)
    if os.environ.get("REWRITE"):
        document.write_text(after)
    assert after == before


FLAGS = ["--", "--config=configs/libero_tiny.py", "--workdir=/shared/runs/x"]
GOOD = {
    "local": ["--processes=2"],
    "slurm": ["--name=x", "--time=1:00:00"],
    "tpu_vm": ["--name=x", "--zone=z", "--tpu_type=v6e-16", "--image=i"],
    "xpk": ["--name=x", "--cluster=c", "--tpu_type=v6e-16", "--image=i"],
}


@pytest.mark.parametrize(
    ("launcher", "arguments", "message"),
    [
        ("local", ["--processes=0", *FLAGS], "'0' is no positive number"),
        ("local", ["--processes=2", "--gpu=1", *FLAGS], "unrecognized arguments: --gpu=1"),
        ("local", ["--processes=2"], "--config: found no flags of training"),
        ("local", ["--processes=3", *FLAGS], "found 3 for 4 GPUs"),
        ("slurm", ["--name=x", *FLAGS], "arguments are required: --time"),
        ("slurm", ["--name=X_1", "--time=9", *FLAGS], "--name: found 'X_1'"),
        ("slurm", [*GOOD["slurm"], "--", "--config=c.py", "--workdir=w"], "--config: found c.py"),
        ("slurm", [*GOOD["slurm"], *FLAGS[:2]], "--workdir: found --config="),
        ("tpu_vm", [*GOOD["tpu_vm"][:3], *FLAGS], "found neither an image nor a repository"),
        ("tpu_vm", [*GOOD["tpu_vm"], "--tpu_type=v9-8", *FLAGS], "found 'v9', expected one of"),
        ("tpu_vm", [*GOOD["tpu_vm"], *FLAGS[:2], "--workdir=runs/x"], "expected an absolute path"),
        ("xpk", [*GOOD["xpk"], *FLAGS[:2], "--workdir=runs/x"], "expected an absolute path"),
    ],
)
def test_bad_arguments(launcher, arguments, message, repository, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"launch.{launcher}").main(arguments)
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert len(errors.splitlines()) == 1 and message in errors and "Fix:" in errors


@pytest.mark.parametrize("launcher", ["slurm", "tpu_vm", "xpk"])
def test_what_is_not_installed(launcher, repository, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"launch.{launcher}").main([*GOOD[launcher], *FLAGS])
    name = {"slurm": "sbatch", "tpu_vm": "gcloud"}.get(launcher, launcher)
    assert ended.value.code == 2
    assert f"executable `{name}`: found none on PATH" in capsys.readouterr().err
