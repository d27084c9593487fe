"""The Dockerfiles, as far as they can be checked without building them."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

FILES = sorted((Path(__file__).parents[2] / "launch" / "docker").glob("*.Dockerfile"))
of_each_role = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def instructions(file: Path) -> list[tuple[str, str]]:
    """(instruction, its words); lines that were folded are one."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(name, words) for name, _, words in (line.partition(" ") for line in whole) if name]


def all_of(file: Path, name: str) -> list[str]:
    return [words for instruction, words in instructions(file) if instruction == name]


def module(file: Path) -> str:
    """What the default command runs."""
    (command,) = all_of(file, "CMD")
    python, flag, name, *_ = json.loads(command)
    assert (python, flag) == ("python", "-m")
    return name


def requirement_files(file: Path) -> set[str]:
    return {name for run in all_of(file, "RUN") for name in re.findall(r"-[rc] (\S+)", run)}


def test_a_dockerfile_per_role():
    assert [file.stem.partition(".")[0] for file in FILES] == [
        "evaluate",
        "serve",
        "train_gpu",
        "train_tpu",
    ]


@of_each_role
def test_the_base_is_pinned_and_the_user_is_not_root(file):
    (base,) = all_of(file, "FROM")
    assert re.fullmatch(r"python:3\.1[12]\.\d+-slim-bookworm", base)
    assert bool(all_of(file, "USER")) == (file.name != "train_tpu.Dockerfile")


@of_each_role
def test_what_is_copied_exists_and_is_sent_to_docker(file, repository):
    ignored = (repository / ".dockerignore").read_text().splitlines()
    sent = {line.strip("!/") for line in ignored if line.startswith("!")}
    for words in all_of(file, "COPY"):
        *sources, _ = words.split()
        assert all((repository / source).exists() for source in sources)
        assert {source.strip("/") for source in sources} <= sent
    for name in requirement_files(file):
        assert (repository / name).is_file()


@of_each_role
def test_what_runs_parses(file):
    for line in all_of(file, "RUN"):
        assert subprocess.run(["bash", "-n"], input=line, text=True).returncode == 0


@of_each_role
def test_what_the_default_command_imports_is_installed(file, repository):
    """Followed through the package's modules, as far as they import when they are imported."""
    distributions = importlib.metadata.packages_distributions()
    imported = third_party(module(file), repository)
    missing = {
        name
        for name in imported
        if not installed_by(requirement_files(file), repository) & set(distributions.get(name, []))
    }
    assert not missing
    assert "tensorflow" not in imported


def third_party(start: str, repository: Path) -> set[str]:
    waiting, seen, found = [start], set(), set()
    while waiting:
        name = waiting.pop()
        path = repository / name.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in seen or not path.is_file():  # a name inside a module
            continue
        seen.add(name)
        for imported in top_level_imports(path):
            if imported.split(".")[0] == "semanticvla_jax":
                waiting.append(imported)
            else:
                found.add(imported.split(".")[0])
    assert start in seen
    return found - set(sys.stdlib_module_names)


def top_level_imports(path: Path) -> set[str]:
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def installed_by(files: set[str], repository: Path) -> set[str]:
    """Names of the distributions, with what those require."""
    waiting = [
        line
        for file in files
        if "constraints" not in file
        for line in (repository / file).read_text().splitlines()
        if line and not line.startswith("#")
    ]
    names: set[str] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if requirement.name in names or not wanted:
            continue
        names.add(requirement.name)
        try:
            waiting += importlib.metadata.requires(requirement.name) or []
        except importlib.metadata.PackageNotFoundError:
            pass  # for another machine
    return names | {name.replace("-", "_") for name in names}
