"""Which assets LIBERO uses: a directory the user names, the original ones, or our own."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.assets.layout import missing_files

ENVIRONMENT_VARIABLE = "SEMANTICVLA_LIBERO_ASSETS"
REACHABLE_WITHIN_SECONDS = 3.0
# The data set that hf-libero downloads, and the folder it downloads it to.
ORIGINAL_REPOSITORY = "lerobot/libero-assets"
ORIGINAL_FOLDER = Path("~/.cache/libero/assets")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assets:
    """A complete assets directory: what kind it is, where it lies and a short content hash."""

    kind: str  # 'directory' | 'original' | 'generated'
    path: Path
    digest: str


def resolve_assets(directory: str | os.PathLike | None = None) -> Assets:
    """The assets to use, looked for in this order.

    1. `directory`, or else the one named by SEMANTICVLA_LIBERO_ASSETS;
    2. the original assets: inside the installed hf-libero package, where hf-libero downloads
       them to, or downloaded now if huggingface_hub is installed and its server answers in
       seconds (asked once per process);
    3. our own, generated once into the user's cache folder.

    The word `generated` in place of a directory asks for 3 without looking for 1 and 2.

    Raises `InputError` if the named directory lacks files that the tasks need.
    """
    named = os.fspath(directory) if directory is not None else os.environ.get(ENVIRONMENT_VARIABLE)
    if named == "generated":
        assets = _generated_assets()
    elif named:
        assets = _named_assets(Path(named).expanduser().resolve())
    else:
        assets = _original_assets() or _generated_assets()
    _log.info("LIBERO assets: %s (%s, digest %s)", assets.path, assets.kind, assets.digest)
    return assets


def content_digest(directory: Path) -> str:
    """Twelve hex digits over name, size and first 64 KiB of every file that is not hidden."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if not path.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        with path.open("rb") as file:
            digest.update(f"{name} {path.stat().st_size}\n".encode() + file.read(1 << 16))
    return digest.hexdigest()[:12]


def cache_directory() -> Path:
    """The folder that holds one folder per version of the generated assets."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return root / "semanticvla_jax" / "libero_assets"


def _named_assets(path: Path) -> Assets:
    missing = missing_files(path)
    if missing:
        raise InputError(
            f"LIBERO assets directory {path}",
            found=f"{len(missing)} files missing, the first {missing[0]}"
            if path.is_dir()
            else "no such directory",
            expected="LIBERO's assets folder (articulated_objects, scenes, textures, ...)",
            fix=f"correct the path, or set {ENVIRONMENT_VARIABLE}=generated to use our own assets",
        )
    return Assets("directory", path, content_digest(path))


@functools.cache
def _original_assets() -> Assets | None:
    package = importlib.util.find_spec("libero")
    roots = package.submodule_search_locations if package else None
    folders = [Path(root) / "libero" / "assets" for root in roots or ()]
    for folder in (*folders, ORIGINAL_FOLDER.expanduser()):
        if folder.is_dir() and not missing_files(folder):
            return Assets("original", folder, content_digest(folder))
    return _download_original_assets()


def _download_original_assets() -> Assets | None:
    if importlib.util.find_spec("huggingface_hub") is None:
        _log.info("huggingface_hub is not installed: the original LIBERO assets are not looked for")
        return None
    import huggingface_hub

    server = huggingface_hub.constants
    if server.HF_HUB_OFFLINE or not _reachable(server.ENDPOINT):
        _log.info("the server of the original LIBERO assets cannot be reached")
        return None
    folder = ORIGINAL_FOLDER.expanduser()
    _log.info("downloading the original LIBERO assets into %s", folder)
    try:
        huggingface_hub.snapshot_download(
            ORIGINAL_REPOSITORY, repo_type="dataset", local_dir=os.fspath(folder)
        )
    except Exception as error:  # any failure of the network or the hub means: use our own
        _log.warning("the original LIBERO assets could not be downloaded: %s", error)
        return None
    missing = missing_files(folder)
    if missing:
        _log.warning("the downloaded LIBERO assets lack %s", missing[0])
        return None
    return Assets("original", folder, content_digest(folder))


def _reachable(url: str) -> bool:
    """Whether anything answers at `url` in time; name look-up, which has no timeout, included."""
    answered = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=REACHABLE_WITHIN_SECONDS):
                answered.set()
        except urllib.error.HTTPError:
            answered.set()
        except OSError:
            pass

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(REACHABLE_WITHIN_SECONDS)
    return answered.is_set()


def _generated_assets() -> Assets:
    from semanticvla_jax.libero.assets import generate

    path = cache_directory() / generate.version_digest()
    if missing_files(path):
        _generate_atomically(path)
    return Assets("generated", path, content_digest(path))


def _generate_atomically(path: Path) -> None:
    """Writes the assets beside `path` and renames: processes that start together agree."""
    from semanticvla_jax.libero.assets import generate

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f"{path.name}.", dir=path.parent))
    except OSError as error:
        raise InputError(
            f"cache folder {path.parent}",
            found=str(error),
            expected="a folder that can be written to",
            fix="set XDG_CACHE_HOME to a writable folder",
        ) from error
    try:
        generate.write_assets(scratch / "new")
        try:
            (scratch / "new").rename(path)
        except OSError:  # another process was first, or files were deleted from an older run
            if missing_files(path):
                path.rename(scratch / "damaged")
                (scratch / "new").rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
