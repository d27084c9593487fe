"""Writes every object, fixture and room of LIBERO's four 10-task suites, from dimensions alone.

python -m semanticvla_jax.libero.assets.generate [--out DIR]
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import PIL

from semanticvla_jax.libero.assets import (
    arenas,
    containers,
    fixtures,
    groceries,
    layout,
    tableware,
    textures,
)
from semanticvla_jax.libero.assets.boxes_tableware import TABLEWARE_BOXES
from semanticvla_jax.libero.assets.mjcf import Model, png_bytes


def models() -> Iterator[Model]:
    """Every MJCF file with the meshes and pictures that belong to it."""
    for name in layout.GROCERIES:
        yield groceries.grocery(name)
    for name in TABLEWARE_BOXES:
        yield tableware.tableware(name)
    for name in containers.REGIONS:
        yield containers.container(name)
    yield fixtures.cabinet("wooden_cabinet")
    yield fixtures.cabinet("white_cabinet")
    yield fixtures.stove()
    yield fixtures.microwave()
    for arena in arenas.ARENAS:
        yield arena()


def shared_pictures() -> dict[str, bytes]:
    """Floors and walls, which LIBERO names itself, and a table top of two rooms: path -> PNG."""
    pictures = {
        "floor tiles": textures.tiles((152, 148, 142), (118, 114, 108), 1),
        "ceramic tiles": textures.tiles((132, 136, 138), (96, 98, 100), 2, count=3),
        "planks": textures.wood((128, 88, 54), (176, 130, 86), 3, planks=6),
        "plaster": textures.plaster((206, 204, 200), 4),
        "linen": textures.linen((226, 208, 160), 5),
    }
    files = {layout.STYLE_TEXTURES[name]: image for name, image in pictures.items()}
    pale_planks = textures.wood((176, 136, 94), (212, 176, 132), 11, planks=5)
    files[layout.WOODEN_TABLE_TEXTURE] = pale_planks
    return {name: png_bytes(image) for name, image in files.items()}


def write_assets(directory: Path) -> None:
    """Writes the whole assets directory; the same bytes every time."""
    for model in models():
        model.write(directory)
    for name, content in shared_pictures().items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)


def version_digest() -> str:
    """Twelve hex digits over all that decides the generated files: this package and Pillow."""
    digest = hashlib.sha256(PIL.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name not in ("__init__.py", "resolve.py"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def main() -> None:
    from semanticvla_jax.libero.assets import resolve

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="directory to write to (default: the cache)")
    directory = parser.parse_args().out
    if directory is None:
        directory = resolve.resolve_assets("generated").path
    else:
        write_assets(directory)
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    for path in files:
        print(f"{path.stat().st_size:8d}  {path.relative_to(directory)}")
    size = sum(path.stat().st_size for path in files) / 1000
    digest = resolve.content_digest(directory)
    print(f"{len(files)} files, {size:.0f} kB in {directory} (digest {digest})")


if __name__ == "__main__":
    main()
