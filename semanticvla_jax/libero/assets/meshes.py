"""Triangle meshes made of a few simple shapes, kept small because a CPU draws them.

Texture coordinates run from (0, 0) in the top left corner of a picture to (1, 1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from semanticvla_jax.libero.assets.boxes import Box

# A rotation that stands a shape made around +z up around +y.
Z_TO_Y = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
Z_TO_X = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
SHARP_COSINE = 0.75  # neighbouring surfaces that turn by more than 41 degrees keep their edge


@dataclass(frozen=True)
class Mesh:
    """vertices f32[V, 3] m, normals f32[V, 3], texture f32[V, 2], faces i32[F, 3] (outside CCW)."""

    vertices: np.ndarray
    normals: np.ndarray
    texture: np.ndarray
    faces: np.ndarray

    def transformed(self, rotation=None, translation=(0, 0, 0)) -> Mesh:
        """Rotated by f[3, 3], then moved."""
        rotation = np.eye(3) if rotation is None else np.asarray(rotation, float)
        vertices = self.vertices @ rotation.T + np.asarray(translation, float)
        return Mesh(vertices, self.normals @ rotation.T, self.texture, self.faces)

    def to_msh(self) -> bytes:
        """MuJoCo's binary mesh format."""
        counts = (len(self.vertices),) * 3 + (len(self.faces),)
        arrays = (self.vertices, self.normals, self.texture)
        floats = b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)
        return struct.pack("<4i", *counts) + floats + self.faces.astype("<i4").tobytes()


def merge(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.texture for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
    )


def quad(corners: Sequence[Sequence[float]], texture: Sequence[Sequence[float]]) -> Mesh:
    """A flat rectangle; corners counter-clockwise seen from outside."""
    corners = np.asarray(corners, float)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normals = np.tile(normal / np.linalg.norm(normal), (4, 1))
    return Mesh(corners, normals, np.asarray(texture, float), np.array([[0, 1, 2], [0, 2, 3]]))


# The faces of a box: outward axis and the axes along which a picture's u and v grow.
BOX_FACES = {
    "+x": ((1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "-x": ((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "+y": ((0, 1, 0), (-1, 0, 0), (0, 0, -1)),
    "-y": ((0, -1, 0), (1, 0, 0), (0, 0, -1)),
    "+z": ((0, 0, 1), (1, 0, 0), (0, -1, 0)),
    "-z": ((0, 0, -1), (1, 0, 0), (0, 1, 0)),
}
WHOLE_PICTURE = (0.0, 0.0, 1.0, 1.0)


def box(
    centre, half_extents, *, pictures: dict[str, Sequence[float]] | None = None, tile: float = 0.0
) -> Mesh:
    """A box of 12 triangles.

    Args:
      pictures: the part (left, top, right, bottom) of the texture that each face shows; the
        whole texture on faces not named.
      tile: if set, the texture repeats every `tile` metres instead, its u along the longer edge.
    """
    centre, half = np.asarray(centre, float), np.asarray(half_extents, float)
    faces = []
    for name, axes in BOX_FACES.items():
        outward, right, down = (np.asarray(axis) * half for axis in axes)
        left, top, end, bottom = (pictures or {}).get(name, WHOLE_PICTURE)
        texture = np.array([[left, bottom], [end, bottom], [end, top], [left, top]])
        if tile:
            lengths = 2 * np.array([np.linalg.norm(right), np.linalg.norm(down)]) / tile
            texture = np.array([[0, 1], [1, 1], [1, 0], [0, 0]]) * lengths
            texture = texture if lengths[0] >= lengths[1] else texture[:, ::-1]
        corners = (down - right, down + right, right - down, -right - down)
        faces.append(quad([centre + outward + corner for corner in corners], texture))
    return merge(*faces)


def oriented_boxes(boxes: Iterable[Box], tile: float = 0.25) -> Mesh:
    """Boxes as their tables give them, under a repeating texture."""
    return merge(*(
        box((0, 0, 0), b.half_extents, tile=tile).transformed(b.rotation, b.centre) for b in boxes
    ))  # fmt: skip


def lathe(
    profile: Sequence[tuple[float, float]], *, segments: int = 16, faceted: bool = False
) -> Mesh:
    """A profile of (radius, height) turned around +z.

    The outside lies to the right of the profile: go up on the outside and down on the inside.
    The texture's u runs around the axis and its v against the profile, so that a label on an
    outer wall stands upright. `faceted` keeps the edges between segments.
    """
    points = np.asarray(profile, float)
    steps = np.diff(points, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    outward = np.stack([steps[:, 1], -steps[:, 0]], 1) / lengths[:, None]
    distance = np.concatenate([[0.0], np.cumsum(lengths)]) / lengths.sum()
    angles = np.linspace(0, 2 * np.pi, segments + 1)
    meshes = []
    for row in range(len(steps)):
        ends = [_blended(outward, row, row - 1), _blended(outward, row, row + 1)]
        for first in range(segments) if faceted else [0]:
            around = angles[first : first + 2] if faceted else angles
            shading = np.full_like(around, around.mean()) if faceted else around
            meshes.append(_band(points[row : row + 2], ends, 1 - distance[row : row + 2],
                                around, shading))  # fmt: skip
    return merge(*meshes)


def _blended(outward: np.ndarray, row: int, neighbour: int) -> np.ndarray:
    if not 0 <= neighbour < len(outward) or outward[row] @ outward[neighbour] < SHARP_COSINE:
        return outward[row]
    total = outward[row] + outward[neighbour]
    return total / np.linalg.norm(total)


def _band(ends, normals, v, around, shading) -> Mesh:
    """One step of a profile turned through the angles `around`."""
    cosine, sine = np.cos(around), np.sin(around)
    vertices, normal, texture = [], [], []
    for (radius, height), (radial, axial), along in zip(ends, normals, v, strict=True):
        vertices.append(np.stack([radius * cosine, radius * sine, 0 * cosine + height], 1))
        normal.append(
            np.stack([radial * np.cos(shading), radial * np.sin(shading), 0 * cosine + axial], 1)
        )
        texture.append(np.stack([around / (2 * np.pi), 0 * cosine + along], 1))
    n = len(around)
    low, high = np.arange(n - 1), np.arange(n - 1) + n
    faces = []
    if ends[0][0] > 0:
        faces.append(np.stack([low, low + 1, high + 1 if ends[1][0] > 0 else high], 1))
    if ends[1][0] > 0:
        faces.append(np.stack([low, high + 1, high], 1))
    arrays = (np.concatenate(array) for array in (vertices, normal, texture))
    return Mesh(*arrays, np.concatenate(faces))


def tube(path: Sequence[Sequence[float]], radius: float, *, sides: int = 6) -> Mesh:
    """A round bar along a path of points f[P, 3], open at its ends; the path never turns back."""
    path = np.asarray(path, float)
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    plane = path - path.mean(0)
    across = np.linalg.svd(plane)[2][2]  # the direction in which a planar path does not extend
    second = np.cross(tangents, across)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    angles = np.linspace(0, 2 * np.pi, sides + 1)
    normals = (
        np.cos(angles)[None, :, None] * second[:, None] + np.sin(angles)[None, :, None] * across
    )
    vertices = path[:, None] + radius * normals
    u, v = np.meshgrid(angles / (2 * np.pi), np.linspace(0, 1, len(path)))
    row = np.arange(sides)
    start = (np.arange(len(path) - 1) * (sides + 1))[:, None]
    low, high = (start + row).ravel(), (start + row + sides + 1).ravel()
    faces = np.concatenate(
        [np.stack([low, high + 1, high], 1), np.stack([low, low + 1, high + 1], 1)]
    )
    mesh = Mesh(
        vertices.reshape(-1, 3), normals.reshape(-1, 3), np.stack([u, v], -1).reshape(-1, 2), faces
    )
    return _turned_outward(mesh)


def _turned_outward(mesh: Mesh) -> Mesh:
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    facing = np.einsum("fi,fi->f", np.cross(b - a, c - a), mesh.normals[mesh.faces[:, 0]])
    faces = np.where(facing[:, None] < 0, mesh.faces[:, ::-1], mesh.faces)
    return Mesh(mesh.vertices, mesh.normals, mesh.texture, faces)
