"""Where the last actions lead: ridge regression over time (SP-VLA, equations 2 to 4)."""

from __future__ import annotations

import numpy as np


def extrapolate(actions: np.ndarray, strength: float, steps: int = 1) -> np.ndarray:
    """The next actions on a line through the last ones.

    beta = (X^T X + strength I)^-1 X^T Y with X = [T, 1], T = 0 .. n-1 in buffer time; prediction
    [t, 1] beta at t = n, n+1 ... The intercept is penalised too, as printed. The paper's t is
    ambiguous; with T counted from the buffer's first action only t = n continues it.

    Args:
      actions: f[n, A], oldest first.
      strength: lambda > 0; the paper does not give it.
      steps: how many.

    Returns:
      f64[steps, A].
    """
    n = len(actions)
    line = np.stack([np.arange(n + steps), np.ones(n + steps)], axis=1)
    known = line[:n]
    beta = np.linalg.solve(known.T @ known + strength * np.eye(2), known.T @ actions)
    return line[n:] @ beta
