"""Named mixtures of datasets, as OpenVLA's `data_mix` calls them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from semanticvla_jax.errors import InputError

Mixture = tuple[tuple[str, float], ...]  # (dataset, weight); a weight multiplies its transitions

_LIBERO_4: Mixture = (
    ("libero_spatial_no_noops", 1.0),
    ("libero_object_no_noops", 1.0),
    ("libero_goal_no_noops", 1.0),
    ("libero_10_no_noops", 1.0),
)

MIXTURES: Mapping[str, Mixture] = {
    "libero_4_task_suites": _LIBERO_4,
    "libero_4_task_suites_no_noops": _LIBERO_4,
}


def members(path: str | Path) -> list[tuple[Path, float]]:
    """(directory, weight) of what `path` names: a mixture's members, or `path` itself.

    Args:
      path: DIR/NAME, where NAME may be a mixture's. Its members lie in DIR/NAME if that is a
        directory, else in DIR.

    Raises:
      InputError: a member is missing; lists all that are.
    """
    path = Path(path).expanduser()
    mixture = MIXTURES.get(path.name)
    if mixture is None:
        return [(path, 1.0)]
    directory = path if path.is_dir() else path.parent
    missing = [name for name, _ in mixture if not (directory / name).is_dir()]
    if missing:
        raise InputError(
            f"mixture {path.name}",
            found=f"no {', '.join(missing)} in {directory.absolute()}",
            expected=f"the datasets {', '.join(name for name, _ in mixture)}",
            fix="copy them there, or list those you have in config.data.path, with commas",
        )
    return [(directory / name, weight) for name, weight in mixture]
