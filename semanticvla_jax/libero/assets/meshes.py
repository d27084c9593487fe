"""Triangle meshes made of a few simple shapes, kept small because a CPU draws them.

Texture coordinates run from (0, 0) in the top left corner of a picture to (1, 1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from semanticvla_jax.libero.assets.boxes import Box

# Rotations: what stood up along +z stands along +y; what lay along +x lies along +y.
Z_TO_Y = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
X_TO_Y = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
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

    def stretched(self, factors) -> Mesh:
        """Scaled by f[3] along the axes."""
        normals = self.normals / np.asarray(factors, float)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        return Mesh(self.vertices * np.asarray(factors, float), normals, self.texture, self.faces)

    def textured_from_above(self, tile: float) -> Mesh:
        """With a texture laid over it from above that repeats every `tile` metres."""
        return Mesh(self.vertices, self.normals, self.vertices[:, :2] / tile, self.faces)

    def to_msh(self, textured: bool = True) -> bytes:
        """MuJoCo's binary mesh format; texture coordinates only if they are needed."""
        texture = self.texture if textured else self.texture[:0]
        counts = (len(self.vertices), len(self.normals), len(texture), len(self.faces))
        arrays = (self.vertices, self.normals, texture)
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
    profile: Sequence[tuple[float, float]],
    *,
    segments: int = 16,
    faceted: bool = False,
    turns: int = 1,
) -> Mesh:
    """A profile of (radius, height) turned around +z.

    The outside lies to the right of the profile: go up on the outside and down on the inside.
    The texture's u runs around the axis, `turns` times, and its v against the profile, so that a
    label on an outer wall stands upright. `faceted` keeps the edges between segments.
    """
    points = np.asarray(profile, float)
    steps = np.diff(points, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    outward = np.stack([steps[:, 1], -steps[:, 0]], 1) / lengths[:, None]
    along = 1 - np.concatenate([[0.0], np.cumsum(lengths)]) / lengths.sum()
    angles = np.linspace(0, 2 * np.pi, segments + 1)
    arcs = [angles[i : i + 2] for i in range(segments)] if faceted else [angles]
    edges = np.flatnonzero(np.einsum("si,si->s", outward[:-1], outward[1:]) < SHARP_COSINE) + 1
    meshes = []
    for steps_of_run in np.split(np.arange(len(steps)), edges):
        rows = np.append(steps_of_run, steps_of_run[-1] + 1)
        normals = outward[steps_of_run]
        normals = np.concatenate([normals[:1], normals[:-1] + normals[1:], normals[-1:]])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        for arc in arcs:
            shading = np.full_like(arc, arc.mean()) if faceted else arc
            u, v = np.meshgrid(turns * arc / (2 * np.pi), along[rows])
            meshes.append(_surface(_turned(points[rows], arc), _turned(normals, shading), u, v))
    return merge(*meshes)


def _turned(profile: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """(radius, height) f[R, 2] turned about +z: f[R, A, 3]."""
    radius, height = profile[:, :1], profile[:, 1:]
    x, y = radius * np.cos(angles), radius * np.sin(angles)
    return np.stack([x, y, height + 0 * x], -1)


def tube(path: Sequence[Sequence[float]], radius: float, *, sides: int = 6) -> Mesh:
    """A round bar along points f[P, 3] that lie in a plane, open at its ends."""
    path = np.asarray(path, float)
    tangents = np.gradient(path, axis=0)
    across = np.linalg.svd(path - path.mean(0))[2][2]  # the direction without extent
    second = np.cross(across, tangents)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    angles = np.linspace(0, 2 * np.pi, sides + 1)[:, None]
    normals = np.cos(angles) * second[:, None] + np.sin(angles) * across
    u, v = np.meshgrid(angles / (2 * np.pi), np.linspace(0, 1, len(path)))
    return _surface(path[:, None] + radius * normals, normals, u, v)


def _surface(vertices: np.ndarray, normals: np.ndarray, u: np.ndarray, v: np.ndarray) -> Mesh:
    """A grid of vertices f[R, C, 3] as triangles that face along the normals; slivers go."""
    vertices, normals = vertices.reshape(-1, 3), normals.reshape(-1, 3)
    index = np.arange(u.size).reshape(u.shape)
    a, b, c, d = (
        i.ravel() for i in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    )
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    facing = np.cross(second - first, third - first)
    backward = np.einsum("fi,fi->f", facing, normals[faces].sum(1)) < 0
    faces[backward] = faces[backward, ::-1]
    solid = np.linalg.norm(facing, axis=1) > 1e-12
    return Mesh(vertices, normals, np.stack([u.ravel(), v.ravel()], 1), faces[solid])
