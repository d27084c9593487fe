"""Read-only geometric view of a LIBERO simulation: hand pose, objects, joints and obstacles.

Everything is in the world frame: metres, radians, z up. Collision shapes are treated as
their oriented bounding boxes, which is exact for LIBERO's box-only collision models.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

ROBOT_PREFIXES = ("robot0", "gripper0", "mount0")
HAND_SITE = "gripper0_grip_site"
SHOULDER_BODY = "robot0_link2"


def unit_grid(samples_per_axis: int) -> np.ndarray:
    """Regular grid over the cube [-1, 1]^3, f64[samples_per_axis**3, 3]."""
    axis = np.linspace(-1.0, 1.0, samples_per_axis)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


@dataclass(frozen=True)
class Boxes:
    """N oriented boxes: centers and half sizes f64[N, 3], rotations (box to world) f64[N, 3, 3]."""

    centers: np.ndarray
    rotations: np.ndarray
    halves: np.ndarray

    def count_inside(self, points: np.ndarray, margin: float = 0.003) -> int:
        """Number of (point, box) pairs with the point inside the box grown by `margin` m.

        points: f64[P, 3].
        """
        local = np.einsum("npi,nij->npj", points[None] - self.centers[:, None], self.rotations)
        return int((np.abs(local) <= self.halves[:, None] + margin).all(axis=-1).sum())

    def near(self, position: np.ndarray, distance: float) -> Boxes:
        """The boxes whose bounding sphere comes within `distance` m of `position`."""
        gap = np.linalg.norm(self.centers - position, axis=1) - np.linalg.norm(self.halves, axis=1)
        keep = gap <= distance
        return Boxes(self.centers[keep], self.rotations[keep], self.halves[keep])

    def highest_top(self, xy: np.ndarray, radius: float) -> float:
        """Highest z of the boxes whose world-aligned bounds come within `radius` of xy."""
        extents = np.einsum("nij,nj->ni", np.abs(self.rotations), self.halves)
        near = (np.abs(xy - self.centers[:, :2]) <= extents[:, :2] + radius).all(axis=1)
        return float(np.max((self.centers + extents)[near, 2], initial=-np.inf))


class Scene:
    """What the scripted expert knows of the simulator. Valid until the environment's next reset."""

    def __init__(self, env) -> None:
        self.model = env.sim.model._model
        self.data = env.sim.data._data
        self._body_ids = env.env.obj_body_id
        self._hand_site = self.model.site(HAND_SITE).id
        collides = (self.model.geom_contype != 0) | (self.model.geom_conaffinity != 0)
        self._collision_geoms = np.flatnonzero(collides)
        robot_bodies = [
            body
            for body in range(self.model.nbody)
            if self.model.body(body).name.startswith(ROBOT_PREFIXES)
        ]
        self._obstacle_geoms = np.array(
            [
                geom
                for geom in self._collision_geoms
                if self.model.geom_bodyid[geom] not in robot_bodies
                and self.model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_PLANE
            ]
        )

    # ---- hand

    @property
    def hand_position(self) -> np.ndarray:
        """Grip site between the finger tips, f64[3]."""
        return self.data.site_xpos[self._hand_site].copy()

    @property
    def hand_rotation(self) -> np.ndarray:
        """Hand to world, f64[3, 3]: x = jaw axis, z = pointing direction."""
        return self.data.site_xmat[self._hand_site].reshape(3, 3).copy()

    @property
    def shoulder_position(self) -> np.ndarray:
        return self.data.xpos[self.model.body(SHOULDER_BODY).id].copy()

    # ---- objects

    def is_object(self, name: str) -> bool:
        return name in self._body_ids

    def object_position(self, name: str) -> np.ndarray:
        return self.data.xpos[self._body_ids[name]].copy()

    def site_position(self, name: str) -> np.ndarray:
        return self.data.site_xpos[self.model.site(name).id].copy()

    def site_rotation(self, name: str) -> np.ndarray:
        """Site to world, f64[3, 3]."""
        return self.data.site_xmat[self.model.site(name).id].reshape(3, 3).copy()

    def site_size(self, name: str) -> np.ndarray:
        """Half sizes in m along the site's axes, f64[3]."""
        return self.model.site_size[self.model.site(name).id].copy()

    def site_owner(self, name: str) -> Boxes:
        """Collision boxes of the object or fixture a site belongs to, with its moving parts."""
        root = self.model.body_rootid[self.model.site_bodyid[self.model.site(name).id]]
        return self.boxes(self._geoms_of(set(np.flatnonzero(self.model.body_rootid == root))))

    def object_geoms(self, name: str) -> np.ndarray:
        """Ids of the collision geoms of an object and of everything jointed to it."""
        bodies = {self._body_ids[name]}
        for body in range(min(bodies) + 1, self.model.nbody):
            if self.model.body_parentid[body] in bodies:
                bodies.add(body)
        return self._geoms_of(bodies)

    def object_points(self, name: str, samples_per_axis: int = 5) -> np.ndarray:
        """Sample points on an object's collision boxes, f64[P, 3]."""
        return self.geom_points(self.object_geoms(name), samples_per_axis)

    def geom_points(self, geoms: np.ndarray, samples_per_axis: int = 5) -> np.ndarray:
        boxes = self.boxes(geoms)
        local = unit_grid(samples_per_axis)[None] * boxes.halves[:, None]
        world = np.einsum("nij,npj->npi", boxes.rotations, local) + boxes.centers[:, None]
        return world.reshape(-1, 3)

    def boxes(self, geoms: np.ndarray) -> Boxes:
        rotations = self.data.geom_xmat[geoms].reshape(-1, 3, 3)
        offsets = np.einsum("nij,nj->ni", rotations, self.model.geom_aabb[geoms, :3])
        centers = self.data.geom_xpos[geoms] + offsets
        return Boxes(centers, rotations.copy(), self.model.geom_aabb[geoms, 3:].copy())

    def obstacles(self, except_objects: tuple[str, ...] = ()) -> Boxes:
        """Boxes of everything but the robot, the ground plane and the named objects."""
        ignored = [self.object_geoms(name) for name in except_objects]
        geoms = np.setdiff1d(self._obstacle_geoms, np.concatenate([[], *ignored]))
        return self.boxes(geoms.astype(int))

    # ---- joints of fixtures

    def slide_joint_of_region(self, region: str) -> int | None:
        """Id of the joint that moves a region's site (a drawer's), or None."""
        body = self.model.site_bodyid[self.model.site(region).id]
        while body and self.model.body_jntnum[body] == 0:
            body = self.model.body_parentid[body]
        return self._joint_of_type(body, mujoco.mjtJoint.mjJNT_SLIDE)

    def hinge_joint_of_object(self, name: str) -> int | None:
        """Id of the first hinge in an object (a stove's knob, a microwave's door), or None."""
        root = self._body_ids[name]
        for body in range(root, self.model.nbody):
            if self.model.body_rootid[body] == self.model.body_rootid[root]:
                joint = self._joint_of_type(body, mujoco.mjtJoint.mjJNT_HINGE)
                if joint is not None:
                    return joint
        return None

    def joint_value(self, joint: int) -> float:
        """m for a slide, rad for a hinge."""
        return float(self.data.qpos[self.model.jnt_qposadr[joint]])

    def joint_range(self, joint: int) -> np.ndarray:
        return self.model.jnt_range[joint].copy()

    def joint_axis(self, joint: int) -> np.ndarray:
        return self.data.xaxis[joint].copy()

    def joint_anchor(self, joint: int) -> np.ndarray:
        return self.data.xanchor[joint].copy()

    def joint_geoms(self, joint: int) -> np.ndarray:
        """Ids of the collision geoms of the body that the joint moves."""
        return self._geoms_of({int(self.model.jnt_bodyid[joint])})

    def _joint_of_type(self, body: int, joint_type: int) -> int | None:
        first = int(self.model.body_jntadr[body])
        for joint in range(first, first + int(self.model.body_jntnum[body])):
            if self.model.jnt_type[joint] == joint_type:
                return joint
        return None

    def _geoms_of(self, bodies: set[int]) -> np.ndarray:
        geoms = self._collision_geoms
        return geoms[np.isin(self.model.geom_bodyid[geoms], list(bodies))]
