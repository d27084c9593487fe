from __future__ import annotations

import json
import subprocess
import sys

import pytest

from data.libero_expert import __main__ as command
from semanticvla_jax.data.rlds import open_datasets
from semanticvla_jax.robots import LIBERO

GOOD = {"--suite": "libero_object", "--tasks": "0", "--episodes": "1", "--image_size": "64"}


def arguments(out, **changes) -> list[str]:
    options = GOOD | {"--out": str(out)} | {f"--{name}": value for name, value in changes.items()}
    return [part for pair in options.items() for part in pair]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"suite": "libero_moon"}, "libero_moon"),
        ({"tasks": "11"}, "0 = pick_up_the_alphabet_soup"),
        ({"tasks": "0,bake_a_cake"}, "bake_a_cake"),
        ({"episodes": "0"}, "at least 1"),
        ({"episodes": "-3"}, "found -3"),
        ({"image_size": "48"}, "from 64 to 512"),
        ({"image_size": "100"}, "multiple of 16"),
        ({"jitter": "far"}, "metres, or none"),
        ({"jitter": "6"}, "at most 0.15"),
        ({"jitter": "nan"}, "metres"),
        ({"seed": "-1"}, "0 or more"),
        ({"rendering": "oil"}, "fast or original"),
        ({"noise": "burst_probability=2"}, "a probability <= 1"),
        ({"workers": "0"}, "at least 1"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(changes, words, tmp_path, monkeypatch, capsys):
    refuse(monkeypatch, arguments(tmp_path / "new", **changes))
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1
    assert words in message and "Fix: " in message
    assert not (tmp_path / "new").exists()


def test_an_unwritable_directory_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    refuse(monkeypatch, arguments(tmp_path / "file" / "dataset"))
    assert "can be created and written" in capsys.readouterr().err


def test_a_directory_of_something_else_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "thesis.tex").touch()
    refuse(monkeypatch, arguments(tmp_path))
    assert "such as thesis.tex" in capsys.readouterr().err


def refuse(monkeypatch, words: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["libero_expert", *words])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2


@pytest.mark.sim
def test_from_simulator_to_dataset(tmp_path, repository):
    out = tmp_path / "dataset"

    def run(**changes) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "data.libero_expert", *arguments(out, workers="1", **changes)],
            cwd=repository,
            capture_output=True,
            text=True,
        )

    made = run()
    assert made.returncode == 0, made.stderr
    (dataset,) = open_datasets(out, LIBERO)
    assert dataset.episode_count == 1 and 60 < dataset.frame_count <= 280
    assert set(dataset.instructions) == {"pick up the alphabet soup and place it in the basket"}
    metadata = json.loads((out / "metadata.json").read_text())
    assert metadata["assets"]["digest"] in (out / "README.md").read_text()

    again = run()
    assert again.returncode == 0 and "nothing to do" in again.stdout
    other = run(seed="2", jitter="none")
    assert other.returncode == 2
    assert "found jitter=0.06, seed=1, expected jitter=None, seed=2" in other.stderr
