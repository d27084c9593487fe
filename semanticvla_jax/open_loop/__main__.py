"""Compares a policy's predictions with demonstrations, step by step: plots and a table of errors.

    python -m semanticvla_jax.open_loop --checkpoint runs/soup --out runs/soup/open_loop

Looks at episodes that training held out (`config.data.validation_every`), or at --numbers, of the
datasets it was trained on or of --dataset. At every step the policy sees the demonstration, never
what its own actions would have led to: a small error does not promise success, a large one
explains failure. Per dataset, OUT/NAME gets `errors.json`, `errors.png` and a plot per episode.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from semanticvla_jax.data import normalization
from semanticvla_jax.data.chunks import split_episodes
from semanticvla_jax.data.episodes import EpisodeSource
from semanticvla_jax.data.loading import open_mixture
from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.open_loop import errors, pictures
from semanticvla_jax.open_loop.predict import predict
from semanticvla_jax.policy import Policy, load_policy
from semanticvla_jax.training import checkpoints


def compare(
    policy: Policy, dataset: EpisodeSource, episodes: Sequence[int], out: Path, batch_size: int
) -> dict:
    """Predicts the episodes, writes everything into `out`, and returns what errors.json says.

    Raises:
      InputError: unreadable images, or `out` cannot be written.
    """
    predictions = [predict(policy, dataset, episode, batch_size) for episode in episodes]
    found = errors.summarise(predictions, policy.robot, policy.statistics)
    summary = {"policy": policy.label, "dataset": dataset.name, **found}
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "errors.json").write_text(json.dumps(summary, indent=2))
        pictures.save_errors(summary, out / "errors.png")
        for prediction in predictions:
            path = out / f"episode_{prediction.episode:05d}.png"
            pictures.save_episode(prediction, policy.robot, path)
    except OSError as problem:
        raise InputError(
            f"--out {out}",
            found=problem.strerror or problem,
            expected="a directory that can be written",
            fix="name another --out",
        ) from None
    return summary


def chosen_episodes(
    dataset: EpisodeSource, numbers: Sequence[int], count: int, validation_every: int
) -> list[int]:
    """Those numbered, else the first `count` of those held out.

    Raises:
      InputError: no such episode, or none held out.
    """
    outside = [number for number in numbers if not 0 <= number < dataset.episode_count]
    if outside:
        raise InputError(
            "--numbers",
            found=outside,
            expected=f"0 to {dataset.episode_count - 1}, the episodes of {dataset.name}",
            fix="correct --numbers",
        )
    _, held_out = split_episodes(dataset.episode_count, validation_every)
    if not numbers and not len(held_out):
        raise InputError(
            f"held-out episodes of {dataset.name}",
            found=f"none (config.data.validation_every={validation_every})",
            expected="at least one",
            fix="name episodes with --numbers (training has seen them), or another --dataset",
        )
    return list(numbers) or held_out[:count].tolist()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m semanticvla_jax.open_loop", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--checkpoint", required=True, help="--workdir of a training run")
    parser.add_argument("--step", type=int, help="which checkpoint; default: the latest")
    parser.add_argument("--dataset", help="as config.data.path; default: what it was trained on")
    parser.add_argument("--statistics", help="dataset whose normalisation to use, if not its own")
    parser.add_argument("--episodes", type=int, default=3, help="per dataset")
    parser.add_argument(
        "--numbers", type=lambda text: [int(number) for number in text.split(",")], default=[]
    )
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(argv)


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    opened, step = checkpoints.open_for_reading(arguments.checkpoint, arguments.step)
    meta = opened.read_meta(step)
    opened.close()
    statistics = normalization.from_json(meta["statistics"])
    policy = load_policy(arguments.checkpoint, step=step, dataset=next(iter(statistics)))
    trained_on = meta["config"]["data"]
    datasets, _ = open_mixture(arguments.dataset or trained_on["path"], policy.robot)
    for dataset in datasets:
        name, known = normalization.find_statistics(
            statistics, arguments.statistics or dataset.name
        )
        seen = name == dataset.name  # of another dataset, training has seen nothing
        held_out_every = trained_on.get("validation_every", 0) if seen else 1
        episodes = chosen_episodes(dataset, arguments.numbers, arguments.episodes, held_out_every)
        summary = compare(
            dataclasses.replace(policy, statistics=known),
            dataset,
            episodes,
            arguments.out / dataset.name,
            arguments.batch_size,
        )
        print(f"\n{dataset.name}: episodes {episodes}, {summary['steps']} steps, {policy.label}")
        print(errors.table(summary))


if __name__ == "__main__":
    main()
