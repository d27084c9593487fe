"""Makes LIBERO and robosuite importable on a headless machine without prompts, torch or log files.

Nothing in `robosuite` or `libero.libero` may be imported before `boot()`: both read their settings
(render backend, logging, paths) once, at import.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import TYPE_CHECKING

from semanticvla_jax.errors import InputError

if TYPE_CHECKING:
    from semanticvla_jax.libero.assets.resolve import Assets

_RENDER_BACKENDS = ("osmesa", "egl")
_booted: dict[str | None, Assets] = {}


def boot(assets: str | os.PathLike | None = None) -> Assets:
    """Prepares this process for LIBERO and returns the assets in use; cheap when repeated.

    MUJOCO_GL is respected when set ("osmesa" or "egl") and is "osmesa" (software rendering)
    otherwise.

    Args:
      assets: directory of LIBERO's assets; None lets `resolve_assets` choose.
    Raises:
      InputError: LIBERO or the render backend's Debian package is not installed, or MUJOCO_GL
        names a backend that needs a screen.
    """
    from semanticvla_jax.libero.assets.resolve import resolve_assets

    prepare_process()
    key = None if assets is None else os.path.abspath(assets)
    if key not in _booted:
        _booted[key] = resolve_assets(assets)
    use_assets(_booted[key])
    return _booted[key]


def prepare_process() -> None:
    """The part of `boot` that concerns everything but assets."""
    _choose_render_backend()
    _silence_robosuite()
    _point_libero_at_private_config()


def use_assets(assets: Assets) -> None:
    """Makes environments built from now on load their objects from `assets`."""
    try:
        import libero.libero as libero
    except ImportError as error:
        raise InputError(
            "LIBERO cannot be imported",
            found=str(error),
            expected="hf-libero and robosuite",
            fix="run `make setup` (installs requirements/simulator.txt)",
        ) from error
    libero._assets_path_cache = str(assets.path)


def libero_root() -> Path:
    """Directory of the installed `libero.libero` package, found without importing it."""
    spec = importlib.util.find_spec("libero")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "LIBERO is not installed",
            found="no package named libero",
            expected="hf-libero",
            fix="run `make setup` (installs requirements/simulator.txt)",
        )
    return Path(list(spec.submodule_search_locations)[0]) / "libero"


def _choose_render_backend() -> None:
    backend = os.environ.setdefault("MUJOCO_GL", _RENDER_BACKENDS[0])
    if backend not in _RENDER_BACKENDS:
        raise InputError(
            "MUJOCO_GL names no headless render backend",
            found=backend,
            expected=" or ".join(_RENDER_BACKENDS),
            fix="unset MUJOCO_GL or set it to osmesa",
        )
    os.environ.setdefault("PYOPENGL_PLATFORM", backend)


def _silence_robosuite() -> None:
    """Imports robosuite without its request for a macro file, console warnings and log file."""
    if "robosuite" in sys.modules:
        return
    spec = importlib.util.find_spec("robosuite")
    if spec is not None:
        # Settings that robosuite reads while it is being imported.
        settings = Path(spec.submodule_search_locations[0]) / "macros.py"
        macros = _load_module("robosuite.macros", settings)
        macros.CONSOLE_LOGGING_LEVEL, macros.FILE_LOGGING_LEVEL = "ERROR", None
        sys.modules["robosuite.macros"] = macros
        sys.modules["robosuite.macros_private"] = types.ModuleType("robosuite.macros_private")
    try:
        import robosuite
    except ImportError as error:
        raise InputError(
            "the simulator cannot be imported",
            found=str(error),
            expected="robosuite with headless OpenGL",
            fix="`apt-get install libosmesa6` (or libegl1 with MUJOCO_GL=egl), then `make setup`",
        ) from error
    robosuite.macros = macros


def _load_module(name: str, path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _point_libero_at_private_config() -> None:
    """Writes the config file LIBERO would otherwise ask for at the keyboard."""
    root = libero_root()
    paths = {
        "benchmark_root": root,
        "bddl_files": root / "bddl_files",
        "init_states": root / "init_files",
        "datasets": root.parent / "datasets",
        "assets": root / "assets",
    }
    text = "".join(f"{name}: {path}\n" for name, path in paths.items())
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    directory = Path(tempfile.gettempdir()) / f"semanticvla-libero-{os.getuid()}-{digest}"
    os.environ["LIBERO_CONFIG_PATH"] = str(directory)
    config = directory / "config.yaml"
    if not config.exists():
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f"config.{os.getpid()}.partial"
        partial.write_text(text)
        os.replace(partial, config)
