"""Pictures for people: scenes of the suites, and a film as a strip of frames.

python -m semanticvla_jax.libero.gallery scenes --out docs/images
python -m semanticvla_jax.libero.gallery strip --film FILM.mp4 --out docs/images/rollout.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.libero.suites import find_task

# One task of each suite the generator covers: (suite, task index).
SCENES = (("libero_spatial", 0), ("libero_object", 0), ("libero_goal", 0), ("libero_10", 2))


def save_scenes(out: Path, *, size: int = 384, assets: str | None = None) -> list[Path]:
    """Writes one JPEG per suite: third-person view as people see it (upright, not mirrored)."""
    from semanticvla_jax.libero.assets.resolve import resolve_assets
    from semanticvla_jax.libero.env import LiberoEnv
    from semanticvla_jax.libero.placement import Official
    from semanticvla_jax.libero.rendering import ORIGINAL

    out.mkdir(parents=True, exist_ok=True)
    resolved, paths = resolve_assets(assets), []
    for suite, index in SCENES:
        env = LiberoEnv(find_task(suite, index), rendering=ORIGINAL, assets=resolved)
        env.reset(Official(0))
        picture = env.render(size=size)[:, ::-1]
        env.close()
        paths.append(out / f"{suite}.jpg")
        Image.fromarray(picture).save(paths[-1], quality=88)
    return paths


def save_strip(film: Path, out: Path, *, frames: int = 8, height: int = 160) -> None:
    """Writes evenly spaced frames of a film side by side, first and last included.

    Raises:
      InputError: no such film.
    """
    import imageio.v3 as iio

    if not film.is_file():
        raise InputError(
            "film",
            found=f"no file {film}",
            expected="an mp4 written by semanticvla_jax.evaluate --video_every N",
            fix="correct --film",
        )
    images = iio.imread(film, plugin="FFMPEG")
    chosen = images[np.linspace(0, len(images) - 1, frames).round().astype(int)]
    # A frame holds both cameras side by side; stacked, they make a strip of narrow columns.
    columns = [np.concatenate(np.split(frame, 2, axis=1), axis=0) for frame in chosen]
    strip = Image.fromarray(np.concatenate(columns, axis=1))
    width = round(strip.width * 2 * height / strip.height)
    out.parent.mkdir(parents=True, exist_ok=True)
    strip.resize((width, 2 * height), Image.LANCZOS).save(out, quality=85)


@exit_on_input_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    scenes = commands.add_parser("scenes", help="one picture per suite")
    scenes.add_argument("--out", type=Path, required=True)
    scenes.add_argument("--assets")
    strip = commands.add_parser("strip", help="a film as a row of frames")
    strip.add_argument("--film", type=Path, required=True)
    strip.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "scenes":
        for path in save_scenes(arguments.out, assets=arguments.assets):
            print(path)
    else:
        save_strip(arguments.film, arguments.out)
        print(arguments.out)


if __name__ == "__main__":
    main()
