"""FLOPs that others state for a configuration, in 10^12, to be printed beside ours.

Sources: the paper's Tables 2 and 5 (arXiv 2511.10518), which name no convention; and an
independent count, component by component, of the released code with 20 prompt tokens after BOS,
checked against PyTorch's FLOP counter (conventions `full` and `paper_like` of conventions.py).
The paper's OpenVLA fits two cameras and 56 tokens rather than one native call.
"""

from __future__ import annotations

from typing import NamedTuple

LIBERO = "configs/semanticvla_libero.py"
ALOHA = "configs/semanticvla_aloha.py"


class Published(NamedTuple):
    """`full` and `paper_like` of the independent count, and the paper's own; None: not stated."""

    full: float | None = None
    paper_like: float | None = None
    paper: float | None = None


PUBLISHED: dict[str, Published] = {
    f"{LIBERO}:released": Published(2.58, 2.40, 2.37),
    f"{LIBERO}:lite": Published(2.13, 1.96, 1.93),
    f"{LIBERO}:r4": Published(3.49, 3.28, 3.28),
    f"{LIBERO}:r8": Published(2.58, 2.40, 2.37),
    f"{LIBERO}:r16": Published(2.13, 1.96, 1.93),
    f"{LIBERO}:r32": Published(1.90, 1.74, 1.72),
    f"{LIBERO}:openvla_oft": Published(8.84, 8.47, 8.45),
    f"{LIBERO}:openvla,libero_single_step": Published(8.11, 7.79, 8.48),
    f"{LIBERO}:openvla,libero_one_camera": Published(4.20, 4.07, None),
    ALOHA: Published(5.26, 4.94, None),
}
