"""Where images have contours, by patch (Canny's detector, for SP-VLA)."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.errors import InputError


def edge_shares(images: np.ndarray, grid: int, low: float, high: float) -> np.ndarray:
    """Share of each patch's pixels that Canny's detector calls edges.

    OpenCV is among requirements/simulator.txt; nothing but SP-VLA's token pruning needs it here.

    Args:
      images: uint8[n, H, W, 3] RGB, H and W multiples of `grid`.
      grid: patches along a side.
      low, high: thresholds of the gradient, in grey levels of the Sobel filter.

    Returns:
      f32[n, grid^2], raster order.

    Raises:
      InputError: OpenCV is not installed.
    """
    cv2 = _opencv()
    shares = []
    for image in images:
        edges = cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), low, high) > 0
        cells = edges.reshape(grid, edges.shape[0] // grid, grid, edges.shape[1] // grid)
        shares.append(cells.mean((1, 3), dtype=np.float32).reshape(-1))
    return np.stack(shares)


def _opencv():
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            "contours of images",
            found="no OpenCV",
            expected="the package opencv-python-headless",
            fix="install requirements/simulator.txt, or accelerate without sp_vla",
        ) from error
    return cv2
