"""The plain PyTorch policy as a side of the comparison: eager, and compiled where that works.

Runs in a Python of its own (`python -m benchmarks.latency.torch_side`), without JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.latency import inputs, worker
from benchmarks.latency.torch_images import Preprocessing
from benchmarks.plain_torch import rates, vla

PRODUCT_SIZE = {"cpu": 2048, "cuda": 8192}
COPY_BYTES = {"cpu": 1 << 30, "cuda": 1 << 32}


class TorchSide:
    """See worker.Side."""

    def __init__(
        self,
        sizes: dict[str, Any],
        precision: str,
        pixels: int,
        crop_area: float,
        prompt_ids: list[int],
        text_ids: list[int],
        compile_mode: str | None,
    ):
        """Random weights of `sizes`, created on the device.

        Args:
          sizes: plain_torch.sizes.
          precision: "float32" or "bfloat16".
          pixels: of the square camera images.
          crop_area: share of an image that is seen.
          prompt_ids, text_ids: of the instruction.
          compile_mode: of torch.compile; "" = its default, None = do not compile.
        """
        self.sizes, self.pixels = sizes, pixels
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = getattr(torch, precision)
        torch.manual_seed(0)
        torch.set_default_dtype(self.dtype)
        with torch.device(self.device):
            self.model = vla.build(sizes).eval()
        torch.set_default_dtype(torch.float32)
        self.ids = [torch.tensor([ids], device=self.device) for ids in (text_ids, prompt_ids)]
        side = sizes["siglip"]["image_size"]
        self.preprocess = Preprocessing(side, crop_area, self.device, self.dtype)
        with torch.inference_mode():
            self.told = self.model.instruction(*self.ids)
        self.about = {
            "version": f"PyTorch {torch.__version__}",
            "device": torch.cuda.get_device_name() if self.device == "cuda" else worker.cores(),
            "failed": {},
        }
        self.calls = {
            "eager": lambda seen: self.query(self.model, seen, None),
            "eager, instruction kept": lambda seen: self.query(self.model, seen, self.told),
        }
        if compile_mode is not None:
            self.compile(compile_mode)

    def compile(self, mode: str) -> None:
        """Adds the compiled call; or says why there is none, after trying it."""
        compiled = torch.compile(self.model, mode=mode or None)
        try:
            self.query(compiled, self.draw(0), self.told)
        except Exception as error:  # torch._dynamo's and the C++ compiler's have no common class
            lines = [line for line in str(error).splitlines() if line.strip()] or [""]
            self.about["failed"]["compiled"] = f"{type(error).__name__}: {lines[0]}"
            return
        self.calls["compiled, instruction kept"] = lambda seen: self.query(
            compiled, seen, self.told
        )

    @torch.inference_mode()
    def query(self, model: Callable, seen: inputs.Observation, told: dict | None) -> np.ndarray:
        """A whole query, with what the instruction says if it is not given: f32[1, K, A]."""
        told = told or self.model.instruction(*self.ids)
        pixels = self.preprocess(seen.images)
        state = torch.from_numpy(seen.state)[None].to(self.device, self.dtype)
        return model(pixels, state, told).float().cpu().numpy()

    def draw(self, index: int) -> inputs.Observation:
        return inputs.observation(index, self.sizes["cameras"], self.pixels, self.sizes["state"])

    @torch.inference_mode()
    def stages(self) -> dict[str, Callable[[], Any]]:
        model, vision, told, seen = self.model, self.model.vision, self.told, self.draw(0)
        pixels = self.preprocess(seen.images)
        state = torch.from_numpy(seen.state)[None].to(self.device, self.dtype)
        features = vision.encode(pixels, told, pairs=())
        tokens = vision.tokens(*features, told)
        states = model.decode(tokens, state, told)

        def fuse_and_prune():
            for pair in range(len(vision.pairs)):
                vision.exchange(pair, *features)
            return vision.tokens(*features, told)

        stages = {
            "instruction": lambda: model.instruction(*self.ids),
            "preprocessing": lambda: self.preprocess(seen.images),
            "towers": lambda: vision.encode(pixels, told, pairs=()),
            "fusers, pruners": fuse_and_prune,
            "decoder": lambda: model.decode(tokens, state, told),
            "heads": lambda: model.act(states),
        }
        return {name: self.finished(stage) for name, stage in stages.items()}

    def finished(self, stage: Callable[[], Any]) -> Callable[[], None]:
        """The stage, done when it returns."""

        @torch.inference_mode()
        def call() -> None:
            stage()
            rates.synchronize(self.device)

        return call

    def ceilings(self) -> dict[str, float]:
        return {
            "copy": rates.copy_rate(self.device, COPY_BYTES[self.device]),
            "product": rates.product_rate(self.device, self.dtype, PRODUCT_SIZE[self.device]),
        }


if __name__ == "__main__":
    worker.serve(TorchSide)
