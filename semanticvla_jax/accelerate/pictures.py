"""Which image tokens each method keeps on the same frames of an episode, as one picture.

    python -m semanticvla_jax.evaluate --checkpoint runs/soup ... --trace_every 10 \\
        --out runs/soup/official
    python -m semanticvla_jax.accelerate.pictures --checkpoint runs/soup \\
        --trace runs/soup/official/traces/libero_object_0_official_0.npz --out kept.png

A row per method, a column per moment, the robot's cameras side by side. Patches that go on are
shown as they are, the others dark; a patch that goes on only as part of a mixture is as dark as its
share in it is small. With vla_cache, those that go on are those computed anew. All methods see the
frames of the traced episode, not what they would have led to.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from semanticvla_jax.accelerate.load import load_accelerated
from semanticvla_jax.accelerate.program import Program
from semanticvla_jax.accelerate.replay import Frame, read_frames
from semanticvla_jax.errors import exit_on_input_error
from semanticvla_jax.policy import load_policy

METHODS = "none,random,fastv,vla_pruner,sp_vla_tokens"
DARK = 0.2  # brightness of patches that do not go on
CELL = 96  # pixels of an image, at least
LABEL, HEADER, GAP = 110, 16, 3


def kept_patches(program: Program, frames: Sequence[Frame], robot) -> list[np.ndarray]:
    """f32[I, N] of each frame, the largest share of each patch in a token that got through."""
    state, shown = None, []
    for frame in frames:
        batch = program.hear(frame.inputs)
        extras = program.prepare(batch, frame.last_action, robot)
        state = program.begin(batch, extras) if state is None else state
        sources = program.sources(batch, extras, state)[0]
        _, state, kept = program.step(batch, extras, state)
        through = np.asarray(kept)[0].reshape(*sources.shape[:2], 1)
        shares = sources / np.maximum(sources.sum(-1, keepdims=True), 1e-9)
        shown.append((shares * through).max(1))
    return shown


def draw(
    frames: Sequence[Frame], rows: Mapping[str, Sequence[np.ndarray]], grid: int
) -> Image.Image:
    """The picture.

    Args:
      frames: of the columns.
      rows: method -> f32[I, N] for each frame.
      grid: patches along an image's side.
    """
    cameras, side = frames[0].inputs["images"].shape[:2]
    scale = max(1, -(-CELL // side))
    cell = side * scale
    width = cameras * cell + GAP
    size = LABEL + width * len(frames), HEADER + (cell + GAP) * len(rows)
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    for column, frame in enumerate(frames):
        pen.text((LABEL + column * width + 2, 2), f"step {frame.step}", fill="black")
    for row, (name, shares) in enumerate(rows.items()):
        top = HEADER + row * (cell + GAP)
        pen.text((2, top + cell // 2 - 6), name, fill="black")
        for column, (frame, share) in enumerate(zip(frames, shares, strict=True)):
            for camera in range(cameras):
                image = shaded(frame.inputs["images"][camera], share[camera], grid)
                tile = Image.fromarray(image).resize((cell, cell), Image.NEAREST)
                canvas.paste(tile, (LABEL + column * width + camera * cell, top))
    return canvas


def shaded(image: np.ndarray, share: np.ndarray, grid: int) -> np.ndarray:
    """uint8[S, S, 3] with patches as bright as f32[N] says, between DARK and 1."""
    side = image.shape[0]
    patch = np.minimum(np.arange(side) * grid // side, grid - 1)
    light = (DARK + (1 - DARK) * share.reshape(grid, grid))[patch][:, patch]
    return np.round(image * light[..., None]).astype(np.uint8)


def evenly(frames: Sequence[Frame], count: int) -> list[int]:
    """Indices of `count` frames from the first to the last."""
    return sorted({round(i) for i in np.linspace(0, len(frames) - 1, count)})


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m semanticvla_jax.accelerate.pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--checkpoint", required=True, help="--workdir of a training run")
    add("--checkpoint_step", type=int, help="which checkpoint; default: the latest")
    add("--dataset", help="whose normalisation to use, if the policy was trained on several")
    add("--trace", required=True, help="npz file that an evaluation with --trace_every wrote")
    add("--methods", default=METHODS, help=f"rows, '+' joins several; default: {METHODS}")
    add(
        "--columns", type=int, default=6, help="moments, from the episode's first query to its last"
    )
    add("--typical", help="demonstrations for efficient_vla, if not those of the training")
    add("--out", type=Path, required=True, help="PNG file")
    return parser.parse_args(argv)


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    checkpoint, step = arguments.checkpoint, arguments.checkpoint_step
    policy = load_policy(checkpoint, step=step, dataset=arguments.dataset)
    frames = read_frames(arguments.trace, policy)
    chosen, rows = evenly(frames, arguments.columns), {}
    for name in arguments.methods.split(","):
        methods = "" if name == "none" else name.replace("+", ",")
        accelerated = load_accelerated(policy, methods, checkpoint, step, arguments.typical)
        program = accelerated.program
        if program is None:
            program = Program(accelerated.policy.model, accelerated.policy.params)
        shown = kept_patches(program, frames, policy.robot)
        rows[name] = [shown[index] for index in chosen]
        kept = np.mean([(share > 0).mean() for share in shown])
        print(f"{name}: {100 * kept:.0f} % of the patches go on, mean of {len(frames)} frames")
    grid = round(policy.model.siglip.patches**0.5)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    draw([frames[index] for index in chosen], rows, grid).save(arguments.out)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
