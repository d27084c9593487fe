"""What stands along the rear wall (x = -2 m): seen behind the robot, never touched."""

from __future__ import annotations

import numpy as np
from PIL import Image

from semanticvla_jax.libero.assets import textures
from semanticvla_jax.libero.assets.labels import Label
from semanticvla_jax.libero.assets.meshes import Mesh, box, lathe, merge, quad
from semanticvla_jax.libero.assets.mjcf import Model

STEEL, OAK = (0.62, 0.63, 0.66), (0.62, 0.46, 0.3)


def _draw(model: Model, name: str, mesh: Mesh, *, rgba=None, image: Image.Image | None = None):
    model.visual(model.worldbody, name, mesh, model.material(name, rgba=rgba, image=image))


def _facing_front(x: float, y: float, z: float, half_width: float, half_height: float) -> Mesh:
    """An upright picture that looks along +x."""
    corners = [
        (x, y - half_width, z - half_height),
        (x, y + half_width, z - half_height),
        (x, y + half_width, z + half_height),
        (x, y - half_width, z + half_height),
    ]
    return quad(corners, [(0, 1), (1, 1), (1, 0), (0, 0)])


def kitchen_counter(model: Model) -> None:
    """Cupboards under a worktop, a tiled wall above them, and a pot."""
    doors = [box((-1.7, y, 0.46), (0.28, 0.286, 0.4)) for y in np.arange(-1.5, 1.6, 0.6)]
    _draw(model, "cupboards", merge(*doors), rgba=(0.8, 0.84, 0.82))
    _draw(model, "worktop", box((-1.69, 0, 0.885), (0.31, 1.82, 0.02)), rgba=(0.33, 0.34, 0.36))
    knobs = [box((-1.41, y + 0.2, 0.7), (0.012, 0.06, 0.01)) for y in np.arange(-1.5, 1.6, 0.6)]
    _draw(model, "knobs", merge(*knobs), rgba=STEEL)
    tiled = textures.tiles((206, 220, 218), (176, 190, 188), 41, count=8, contrast=5)
    _draw(model, "splashback", _facing_front(-1.985, 0, 1.25, 1.8, 0.35), image=tiled)
    pot = lathe([(0.12, 0.905), (0.12, 1.06), (0.125, 1.065), (0.06, 1.09), (0, 1.095)])
    _draw(model, "pot", pot.transformed(None, (-1.68, -0.62, 0)), rgba=(0.7, 0.2, 0.16))


def _books(seed: int) -> Image.Image:
    """Two rows of spines."""
    rng = np.random.default_rng(seed)
    picture = Label((60, 44, 32), (128, 128))
    for shelf in (0.0, 0.5):
        left = 0.02
        while left < 0.94:
            width, top = rng.uniform(0.04, 0.08), shelf + rng.uniform(0.06, 0.16)
            colour = tuple(int(c) for c in rng.uniform(50, 210, 3))
            picture.rectangle(left, top, min(left + width, 0.98), shelf + 0.47, colour)
            left += width + 0.008
    return picture.image


def _landscape() -> Image.Image:
    """Hills under a low sun."""
    picture = Label((150, 196, 226), (96, 96)).disc(0.7, 0.32, 0.12, (252, 226, 140))
    picture.disc(0.2, 1.05, 0.5, (92, 140, 98)).disc(0.8, 1.2, 0.55, (58, 112, 78))
    return picture.rectangle(0, 0.92, 1, 1, (216, 196, 140)).image


def book_shelf(model: Model) -> None:
    centre, half_width = -0.95, 0.5
    sides = [box((-1.8, centre + side * half_width, 0.9), (0.15, 0.018, 0.9)) for side in (-1, 1)]
    boards = [box((-1.8, centre, z), (0.15, half_width, 0.014)) for z in (0.1, 0.66, 1.22, 1.79)]
    _draw(model, "shelf", merge(*sides, *boards), rgba=OAK)
    rows = [_facing_front(-1.72, centre, z, half_width - 0.02, 0.27) for z in (0.38, 0.94, 1.5)]
    _draw(model, "books", merge(*rows), image=_books(42))


def painting(model: Model, y: float, z: float) -> None:
    _draw(model, "frame", box((-1.97, y, z), (0.015, 0.34, 0.34)), rgba=(0.25, 0.17, 0.1))
    _draw(model, "landscape", _facing_front(-1.953, y, z, 0.3, 0.3), image=_landscape())


def plant(model: Model, x: float, y: float) -> None:
    pot = lathe([(0.11, 0), (0.15, 0.3), (0.13, 0.3), (0, 0.28)], segments=12)
    _draw(model, "flowerpot", pot.transformed(None, (x, y, 0)), rgba=(0.72, 0.36, 0.22))
    leaves = []
    for turn in range(10):
        angle, rise = 2.4 * turn, 0.75 + 0.05 * turn
        outward = np.array([np.cos(angle), np.sin(angle), 0])
        aside = 0.07 * np.array([-np.sin(angle), np.cos(angle), 0])
        root, tip = np.array([x, y, 0.28]), np.array([x, y, rise]) + 0.42 * outward
        bend = np.array([x, y, rise]) + 0.16 * outward
        corners = [root, bend - aside, tip, bend + aside]
        leaves += [quad(corners, np.zeros((4, 2))), quad(corners[::-1], np.zeros((4, 2)))]
    _draw(model, "leaves", merge(*leaves), rgba=(0.22, 0.5, 0.2))


def sideboard(model: Model) -> None:
    body = box((-1.75, 0, 0.42), (0.22, 0.9, 0.38))
    _draw(model, "sideboard", body, image=textures.wood((188, 168, 140), (214, 198, 172), 43))
    gaps = [box((-1.527, y, 0.42), (0.002, 0.006, 0.36)) for y in (-0.3, 0.3)]
    _draw(model, "gaps", merge(*gaps), rgba=(0.12, 0.08, 0.05))
    vase = lathe([(0.05, 0.8), (0.09, 0.9), (0.05, 1.02), (0.06, 1.06), (0.04, 1.06), (0, 0.9)])
    _draw(model, "vase", vase.transformed(None, (-1.72, -0.55, 0)), rgba=(0.3, 0.5, 0.62))
