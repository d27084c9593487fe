"""The report as plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from semanticvla_jax.evaluation.report.runs import placement_list
from semanticvla_jax.evaluation.results import summary_cells


def text(numbers: dict[str, Any]) -> str:
    """Of what `numbers.numbers` returns."""
    parts = [_success(numbers)]
    parts += [_comparison(comparison) for comparison in numbers["comparisons"]]
    parts += [_settings(numbers), _speed(numbers["runs"])]
    parts += [_failures(run) for run in numbers["runs"] if run["failures"]]
    parts += [_errors(run) for run in numbers["runs"] if run["errors"]]
    return "\n\n".join(part for part in parts if part) + "\n"


def _success(numbers: dict[str, Any]) -> str:
    """A line per task and run."""
    names = [run["name"] for run in numbers["runs"]]
    lines: list[tuple[str, str, str]] = []
    for suite in numbers["suites"]:
        for task in suite["tasks"]:
            label = f"{suite['suite']} {task['task']}: {task['name']}"
            lines += _lines(label, names, task["runs"])
            lines += [("", "", note) for note in _variation(task)]
        lines += _lines(f"{suite['suite']}, all tasks", names, suite["runs"])
    lines += _lines("overall", names, numbers["runs"])
    label_width = max(len(label) for label, _, _ in lines)
    name_width = max(map(len, names))
    header = f"{'task':{label_width}}  {'run':{name_width}}  {summary_cells(None)}"
    rows = [f"{label:{label_width}}  {name:{name_width}}  {cells}" for label, name, cells in lines]
    note = "Errors are no failures and not counted. Intervals: 95 %, Wilson."
    return "\n".join(["SUCCESS", note, header, *(row.rstrip() for row in rows)])


def _lines(label: str, names: list[str], runs: list) -> Iterable[tuple[str, str, str]]:
    for name, rates in zip(names, runs, strict=True):
        if rates:
            yield label, name, summary_cells(rates)
            label = ""


def _variation(task: dict[str, Any]) -> Iterable[str]:
    if task["variation"]:
        yield f"official states vary by {task['variation']['goal_cm']:.1f} cm"
    for kind, (successes, episodes) in task["blind"].items():
        yield f"blind replay, {kind}: {successes}/{episodes}"


def _comparison(comparison: dict[str, Any]) -> str:
    title = f"{comparison['second'].upper()} AGAINST {comparison['first'].upper()}"
    if not comparison["overall"]:
        return f"{title}\nno task in common"
    scopes = [("overall", comparison["overall"])]
    scopes += [(scope["suite"], scope) for scope in comparison["suites"]]
    scopes += [(f"{scope['suite']} {scope['task']}", scope) for scope in comparison["tasks"]]
    width = max(len(label) for label, _ in scopes)
    kind = "the same episodes" if comparison["paired"] else "different episodes"
    method = f"{scopes[0][1]['test']}; 95 % interval: {scopes[0][1]['interval']}"
    lines = [title, f"{kind}; {method}; left out: {comparison['left_out']}"]
    return "\n".join(lines + [f"{label:{width}}  {_difference(scope)}" for label, scope in scopes])


def _difference(scope: dict[str, Any]) -> str:
    points = (f"{100 * scope[name]:+6.1f}" for name in ("change", "low", "high"))
    adjusted = f", adjusted {scope['p_adjusted']:.3g}" if "p_adjusted" in scope else ""
    return "{} points ({} to{})  p = {:.3g}{}".format(*points, scope["p"], adjusted)


def _settings(numbers: dict[str, Any]) -> str:
    if not numbers["differing_settings"]:
        return ""
    lines = [
        f"{name}: " + "; ".join(map(str, values))
        for name, values in numbers["differing_settings"].items()
    ]
    return "\n".join(["SETTINGS THAT DIFFER, in the order of the runs", *lines])


def _speed(runs: list[dict[str, Any]]) -> str:
    lines = ["SPEED, per query and per simulator process"]
    for run in runs:
        speed = run["speed"]
        cells = [f"{speed['queries']} queries"]
        if speed["queries_per_episode"]:
            cells.append(f"{speed['queries_per_episode']} per episode")
        if speed["tokens"]:
            cells.append(f"{speed['tokens']} image tokens")
        for name in ("latency_ms", "render_ms"):
            if speed[name]:
                cells.append(f"{name} p50 {speed[name]['p50']}, p99 {speed[name]['p99']}")
        if speed["batch"]:
            cells.append(f"batch {speed['batch']}")
        if speed["episodes_per_minute"]:
            cells.append(f"{speed['episodes_per_minute']} episodes/min")
        lines.append(f"{run['name']}: " + "; ".join(cells))
    return "\n".join(lines)


def _failures(run: dict[str, Any]) -> str:
    """Per task, the placements; and how to see the first one again."""
    tasks: dict[tuple, list[dict]] = {}
    for failure in run["failures"]:
        tasks.setdefault((failure["suite"], failure["task"]), []).append(failure)
    lines = [f"FAILURES of {run['name']}"]
    for (suite, task), failures in sorted(tasks.items(), key=lambda entry: entry[0]):
        lines += [f"{suite} {task}, {len(failures)}: {placement_list(failures)}"]
        if failures[0]["rerun"]:
            lines += [f"  the first again: {failures[0]['rerun']}"]
    return "\n".join(lines)


def _errors(run: dict[str, Any]) -> str:
    counts = Counter((error["type"], error["unresolved"]) for error in run["errors"])
    lines = [f"ERRORS of {run['name']}, {run['unfinished']} episodes without a result"]
    for (kind, unresolved), count in counts.most_common():
        fate = "not resolved" if unresolved else "a later attempt had a result"
        lines.append(f"{count} x {kind}: {fate}")
    return "\n".join(lines)
