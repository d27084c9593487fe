"""A scene of upright boxes for the expert's geometry: one object among walls, one region."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.libero.expert_scene import Boxes, unit_grid


def upright_boxes(*spans) -> Boxes:
    """From (low corner, high corner) in m."""
    corners = np.array(spans, float).reshape(-1, 2, 3)
    return Boxes(
        corners.mean(axis=1),
        np.tile(np.eye(3), (len(corners), 1, 1)),
        (corners[:, 1] - corners[:, 0]) / 2,
    )


class BoxScene:
    """Answers what `Scene` does, about one object, whatever name is asked for."""

    def __init__(self, thing: Boxes, walls: Boxes, region=((0, 0, 0), (0, 0, 0))) -> None:
        self.thing, self.walls = thing, walls
        low, high = np.array(region, float)
        self.region_middle, self.region_halves = (low + high) / 2, (high - low) / 2

    def object_geoms(self, name):
        return slice(None)

    def boxes(self, geoms):
        return self.thing

    def object_points(self, name):
        local = unit_grid(5)[None] * self.thing.halves[:, None]
        return (local + self.thing.centers[:, None]).reshape(-1, 3)

    def object_position(self, name):
        points = self.object_points(name)
        return np.append((points.min(axis=0) + points.max(axis=0))[:2] / 2, points[:, 2].min())

    def obstacles(self, except_objects=()):
        return self.walls

    def site_owner(self, region):
        return self.walls

    def site_position(self, region):
        return self.region_middle

    def site_rotation(self, region):
        return np.eye(3)

    def site_size(self, region):
        return self.region_halves
