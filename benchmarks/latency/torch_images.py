"""Camera images -> what the towers see, as in the released evaluation, with Pillow and torch."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

MEAN = (0.484375, 0.455078125, 0.40625, 0.5, 0.5, 0.5)
STD = (0.228515625, 0.2236328125, 0.224609375, 0.5, 0.5, 0.5)


class Preprocessing:
    """JPEG round trip, Lanczos, central crop, normalisation for DINOv2 and for SigLIP."""

    def __init__(self, size: int, crop_area: float, device: str, dtype: torch.dtype):
        """To `size` pixels; the crop keeps `crop_area` of the image."""
        self.size, self.device, self.dtype = size, device, dtype
        side = crop_area**0.5
        window = torch.tensor([[[side, 0, 0], [0, side, 0]]])
        self.grid = F.affine_grid(window, [1, 3, size, size], align_corners=True).to(device)
        self.mean, self.std = (
            torch.tensor(numbers, device=device)[:, None, None] for numbers in (MEAN, STD)
        )

    def __call__(self, images: np.ndarray) -> torch.Tensor:
        """uint8[I, H, W, 3] -> [I, 6, size, size] on the device."""
        pixels = torch.from_numpy(np.stack([self.shrunk(image) for image in images]))
        pixels = pixels.to(self.device).permute(0, 3, 1, 2).float() / 255
        grid = self.grid.expand(len(pixels), -1, -1, -1)
        pixels = F.grid_sample(pixels, grid, padding_mode="border", align_corners=True)
        pixels = (pixels * 255.5).clamp(0, 255).floor() / 255
        return ((pixels.repeat(1, 2, 1, 1) - self.mean) / self.std).to(self.dtype)

    def shrunk(self, image: np.ndarray) -> np.ndarray:
        """uint8[H, W, 3] -> uint8[size, size, 3]."""
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=95)
        opened = Image.open(file).convert("RGB")
        return np.asarray(opened.resize((self.size, self.size), Image.Resampling.LANCZOS))
