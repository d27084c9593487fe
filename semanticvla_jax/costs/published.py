"""FLOPs that others state for a model, in 10^12, to be printed beside ours.

Sources: the paper's Table 2 (arXiv 2511.10518), which states no convention; and an independent
count, component by component, of the released code with 20 prompt tokens after BOS (conventions
`full` and `paper_like` of conventions.py), checked against PyTorch's FLOP counter.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """`paper` is None where the paper has no such row."""

    full: float
    paper_like: float
    paper: float | None


PUBLISHED: dict[str, Published] = {
    "OpenVLA, one camera": Published(4.20, 4.07, None),
    "OpenVLA": Published(8.11, 7.79, 8.48),
    "OpenVLA-OFT": Published(8.84, 8.47, 8.45),
    "SemanticVLA": Published(2.58, 2.40, 2.37),
    "SemanticVLA-Lite": Published(2.13, 1.96, 1.93),
    "SemanticVLA, R = 4": Published(3.49, 3.28, 3.28),
    "SemanticVLA, R = 32": Published(1.90, 1.74, 1.72),
    "SemanticVLA, ALOHA": Published(5.26, 4.94, None),
}
