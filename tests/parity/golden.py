"""Reference cases on disk: `<name>.json` and `<name>.npz`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

# Quantities whose float32 noise is listed under another name.
NOISE_ALIASES = {"normalized_actions": "predicted_actions"}


class Golden:
    """One case: `config` (its JSON), and arrays by kind: weights, inputs, outputs."""

    def __init__(self, directory: Path, name: str):
        self.name = name
        self.config: dict[str, Any] = json.loads((directory / f"{name}.json").read_text())
        kinds: dict[str, dict[str, np.ndarray]] = {"w": {}, "i": {}, "o": {}}
        self.others: dict[str, np.ndarray] = {}
        if (directory / f"{name}.npz").exists():
            with np.load(directory / f"{name}.npz") as arrays:
                for key in arrays.files:
                    kind, _, rest = key.partition("/")
                    kinds.get(kind, self.others)[rest or key] = arrays[key]
        self.weights, self.inputs, self.outputs = kinds["w"], kinds["i"], kinds["o"]

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """i/pixel_values [B, 6 I, H, W] -> (DINOv2, SigLIP) pixels, each [B, I, H, W, 3]."""
        x = self.inputs["pixel_values"]
        x = x.reshape(x.shape[0], -1, 2, 3, *x.shape[2:]).transpose(2, 0, 1, 4, 5, 3)
        return x[0], x[1]

    def noise(self, quantity: str) -> float:
        """The reference's own float32 noise of a quantity, 0 where the case does not tell.

        Noise is listed for one run of several (evaluation, not training with noise; the training
        batch, not the prediction): the others' is the same.
        """
        listed = self.config.get("f32_vs_f64_maxabs", {}) | self.config.get(
            "f32_vs_f64_maxabs_train", {}
        )
        short = quantity.rpartition("/")[2].removeprefix("train_")
        names = (quantity, short, NOISE_ALIASES.get(short))
        return next((listed[name] for name in names if name in listed), 0.0)

    def margin(self, scores: str) -> float:
        """Smallest gap between chosen and not chosen scores, as far as the case tells."""
        kind = scores.removeprefix("train_").removesuffix("_score")
        listed = (self.config.get(name) for name in (f"min_margin_{kind}", "min_margin"))
        return next((margin for margin in listed if margin is not None), np.inf)


def images_last(x: np.ndarray) -> np.ndarray:
    """[B, 3, H, W] -> [B, H, W, 3]."""
    return x.transpose(0, 2, 3, 1)


def case_names(directory: Path) -> list[str]:
    """Names of the cases in a folder, those with only one of their two files too."""
    stems = {path.stem for suffix in ("json", "npz") for path in directory.glob(f"*.{suffix}")}
    return sorted(s for s in stems if s != "flops_table" and not s.endswith("_mutations"))
