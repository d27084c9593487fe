"""A verdict on a dataset, before anyone pays for training on it.

    python -m semanticvla_jax.data.check PATH --robot libero [--out DIR]

Prints one finding per subject: OK, WARNING or ERROR, with what was found, what was expected and how
to fix it. Exits with 1 where there is an ERROR. `--out` gets pictures and the statistics.

Which way up the images are is not judged: no simple statistic of pixels tells it reliably. Look at
the contact sheet.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from semanticvla_jax.data import mixtures, normalization, sources
from semanticvla_jax.data.checks import cameras, contents, finding, motion, numbers, pictures
from semanticvla_jax.data.checks.finding import Finding, Verdict
from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.robots import ROBOTS, RobotSpec, find_robot

OF_NUMBERS = (
    contents.size,
    contents.episode_lengths,
    contents.instructions,
    contents.repeats,
    contents.no_ops,
    numbers.ranges,
    numbers.frozen,
    numbers.normalisation,
    motion.delta_or_absolute,
    motion.gripper_sign,
)


def check_dataset(
    dataset: EpisodeSource, robot: RobotSpec, out: Path | None = None
) -> list[Finding]:
    """All findings on what could be read; pictures and statistics go to `out`."""
    findings = [each for look in OF_NUMBERS for each in look(dataset, robot)]
    sample = cameras.moments(dataset, robot)
    findings += cameras.cameras(sample, robot)
    if out:
        _save(dataset, robot, sample, out)
    return findings


def check(path: str | Path, robot: RobotSpec, out: Path | None = None) -> list[Finding]:
    """Checks every dataset at `path`, or of the mixture that it names (`mixtures.members`).

    Prints the findings; unreadable parts come first.

    Raises:
      InputError: nothing there, or `out` cannot be written.
    """
    problems: list[InputError] = []
    datasets: list[EpisodeSource] = []
    try:
        for member, _ in mixtures.members(path):
            datasets += sources.open_datasets(member, robot, problems.append)
    except InputError as problem:
        problems.append(problem)
    findings = list(map(finding.of_problem, problems))
    if datasets and not problems:
        findings.append(finding.ok("files", "all readable, every number finite"))
    _show(findings)
    for dataset in datasets:
        print(f"\n{dataset.name}")
        found = check_dataset(dataset, robot, out and out / dataset.name)
        _show(found)
        print(numbers.table(numbers.statistics_of(dataset, robot), robot))
        findings += found
    return findings


def _show(findings: Sequence[Finding]) -> None:
    for each in findings:
        print(each)


def _save(dataset: EpisodeSource, robot: RobotSpec, sample, out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        statistics = numbers.statistics_of(dataset, robot)
        normalization.save({dataset.name: statistics}, out / "dataset_statistics.json")
        pictures.save_contact_sheet(sample, dataset, robot, out / "contact_sheet.png")
        for name, values, dims in (
            ("actions", dataset.actions, robot.action),
            ("states", dataset.states, robot.state),
        ):
            names, units = tuple(dim.name for dim in dims), [dim.unit for dim in dims]
            pictures.save_histograms(np.asarray(values), names, units, out / f"{name}.png")
    except OSError as problem:
        raise InputError(
            f"--out {out}",
            found=problem.strerror or problem,
            expected="a directory that can be written",
            fix="name another --out",
        ) from None


def _conclude(findings: Sequence[Finding], robot: RobotSpec, out: Path | None) -> str:
    counts = Counter(each.verdict for each in findings)
    where = (
        f"look at {out}/*/contact_sheet.png" if out else "use --out DIR and look at the pictures"
    )
    views = "; ".join(f"{camera.key} = {camera.description}" for camera in robot.cameras)
    advice = (
        "do not train on this"
        if counts[Verdict.ERROR]
        else ("read the warnings" if counts[Verdict.WARNING] else "good to train on")
    )
    return (
        f"\nnot checked: which way up the images are; {where} ({views})\n"
        + ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
        + f": {advice}"
    )


@exit_on_input_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m semanticvla_jax.data.check", description=__doc__.splitlines()[0]
    )
    parser.add_argument("path", help="a dataset, a directory of several, or DIR/MIXTURE")
    parser.add_argument("--robot", required=True, help=f"one of {', '.join(sorted(ROBOTS))}")
    parser.add_argument("--out", type=Path, help="directory for pictures and statistics")
    options = parser.parse_args(arguments)
    robot = find_robot(options.robot)
    findings = check(options.path, robot, options.out)
    print(_conclude(findings, robot, options.out))
    sys.exit(any(each.verdict is Verdict.ERROR for each in findings))


if __name__ == "__main__":
    main()
