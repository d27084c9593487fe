"""Cans, bottles, cartons and boxes.

Cans, cartons and most bottles stand along +y in their own frame; the rest lies or stands along +z.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from semanticvla_jax.libero.assets import labels
from semanticvla_jax.libero.assets.boxes import parse_boxes
from semanticvla_jax.libero.assets.boxes_groceries import GROCERY_BOXES
from semanticvla_jax.libero.assets.layout import OBJECT_FILES
from semanticvla_jax.libero.assets.meshes import X_TO_Y, Z_TO_Y, Mesh, box, lathe, merge, quad
from semanticvla_jax.libero.assets.mjcf import STIFF_CONTACT, ObjectModel, add_collision_box

# Bottom, top and radius (m) as the placement sampler uses them.
EXTENTS = {
    "alphabet_soup": (-0.04, 0.04, 0.025),
    "bbq_sauce": (-0.06, 0.06, 0.015),
    "butter": (-0.02, 0.02, 0.02),
    "chocolate_pudding": (-0.06, 0.04, 0.025),
    "cookies": (-0.06, 0.04, 0.025),
    "cream_cheese": (-0.025, 0.025, 0.03),
    "ketchup": (-0.06, 0.04, 0.025),
    "milk": (-0.06, 0.04, 0.03),
    "orange_juice": (-0.06, 0.04, 0.025),
    "salad_dressing": (-0.06, 0.04, 0.025),
    "tomato_sauce": (-0.06, 0.04, 0.025),
}
# Half length, width and height (m) of the flat boxes.
FLAT_BOXES = {
    "butter": (0.0385, 0.0198, 0.0088),
    "chocolate_pudding": (0.0408, 0.0238, 0.014),
    "cookies": (0.0415, 0.0309, 0.0096),
    "cream_cheese": (0.041, 0.0213, 0.0092),
}
TIN, WHITE_CAP = (0.72, 0.73, 0.75), (0.94, 0.94, 0.92)


def grocery(name: str) -> ObjectModel:
    """The model of one product: collision boxes from the table, looks from its kind."""
    model = ObjectModel(OBJECT_FILES[name], EXTENTS[name])
    for part in parse_boxes(GROCERY_BOXES[name]):
        add_collision_box(model.object, part, **STIFF_CONTACT)
    label = getattr(labels, name)()
    if name in FLAT_BOXES:
        _draw_flat_box(model, name, label)
    else:
        SHAPES[name](model, label)
    return model


def _draw(model: ObjectModel, mesh: Mesh, label: Image.Image) -> None:
    model.visual(model.object, "label", mesh, model.material("label", image=label))


def _draw_flat_box(model: ObjectModel, name: str, label: Image.Image) -> None:
    faces = {face: labels.EDGE for face in ("+x", "-x", "+y", "-y")}
    mesh = box((0, 0, 0), FLAT_BOXES[name], pictures={**faces, "+z": labels.LID, "-z": labels.LID})
    _draw(model, mesh.transformed(X_TO_Y) if name == "cookies" else mesh, label)


def _draw_can(lid_colour) -> Callable:
    """A tin with a label all around and a lid of its own colour, for the camera above it."""

    def draw(model: ObjectModel, label: Image.Image) -> None:
        centre, radius, half = (0, -0.0006, -0.003), 0.0325, 0.038
        wall = lathe([(radius, 0.002 - half), (radius, half - 0.002)], segments=20, turns=2)
        _draw(model, wall.transformed(Z_TO_Y, centre), label)
        edge = radius + 0.0006
        rim = lathe([(edge, half - 0.002), (edge, half), (radius - 0.004, half)], segments=20)
        foot = lathe([(0, -half), (edge, -half), (edge, 0.002 - half)], segments=20)
        lid = lathe([(radius - 0.004, half), (radius - 0.005, half - 0.002), (0, half - 0.002)],
                    segments=20)  # fmt: skip
        for part, mesh, colour in (("tin", merge(rim, foot), TIN), ("lid", lid, lid_colour)):
            material = model.material(part, rgba=colour)
            model.visual(model.object, part, mesh.transformed(Z_TO_Y, centre), material)

    return draw


def _draw_bottle(profile, flatness: float, cap, cap_colour, stand) -> Callable:
    """A flattened bottle along +z with a round cap; `stand` turns it to its own up."""

    def draw(model: ObjectModel, label: Image.Image) -> None:
        body = lathe(profile, segments=16, turns=2).stretched((1, flatness, 1))
        _draw(model, body.transformed(stand), label)
        material = model.material("cap", rgba=cap_colour)
        model.visual(model.object, "cap", lathe(cap, segments=12).transformed(stand), material)

    return draw


def _draw_carton(model: ObjectModel, label: Image.Image) -> None:
    """A gable-top carton whose ridge runs along x."""
    half, foot, eaves, ridge = 0.0266, -0.0698, 0.0398, 0.0585
    front, side, roof = labels.CARTON_FRONT, labels.CARTON_SIDE, labels.CARTON_ROOF
    faces = {"+x": side, "-x": side, "+y": front, "-y": front, "+z": roof, "-z": roof}
    middle, height = (foot + eaves) / 2, (eaves - foot) / 2
    walls = box((0, 0, middle), (half, half, height), pictures=faces)
    left, top, right, bottom = roof
    picture = ((left, bottom), (right, bottom), (right, top), (left, top))
    near = quad(((-half, -half, eaves), (half, -half, eaves), (half, 0, ridge), (-half, 0, ridge)),
                picture)  # fmt: skip
    far = quad(((half, half, eaves), (-half, half, eaves), (-half, 0, ridge), (half, 0, ridge)),
               picture)  # fmt: skip
    gables = [quad(((x, -x, eaves), (x, x, eaves), (x, 0.001 * x, ridge), (x, -0.001 * x, ridge)),
                   picture) for x in (half, -half)]  # fmt: skip
    fin = box((0, 0, ridge + 0.003), (half, 0.0025, 0.0065), pictures=dict.fromkeys(faces, roof))
    _draw(model, merge(walls, near, far, *gables, fin).transformed(Z_TO_Y), label)


SHAPES = {
    "alphabet_soup": _draw_can((0.16, 0.38, 0.8)),
    "tomato_sauce": _draw_can((0.72, 0.14, 0.12)),
    "milk": _draw_carton,
    "orange_juice": _draw_carton,
    "ketchup": _draw_bottle(
        [(0.031, -0.074), (0.0322, -0.05), (0.0318, -0.018), (0.0285, 0.006), (0.0225, 0.031)],
        0.68,
        [(0.019, 0.03), (0.018, 0.07), (0.014, 0.0743), (0, 0.0743)],
        WHITE_CAP,
        Z_TO_Y,
    ),
    "salad_dressing": _draw_bottle(
        [(0.029, -0.0737), (0.032, -0.05), (0.0318, -0.018), (0.0255, 0.002), (0.0195, 0.03)],
        0.68,
        [(0.0128, 0.028), (0.0128, 0.041), (0.019, 0.042), (0.019, 0.0737), (0, 0.0737)],
        (0.93, 0.9, 0.3),
        Z_TO_Y,
    ),
    "bbq_sauce": _draw_bottle(
        [(0.0243, -0.0571), (0.0249, -0.03), (0.0236, 0), (0.0185, 0.022), (0.0135, 0.034)],
        0.66,
        [(0.0125, 0.02), (0.014, 0.036), (0.014, 0.0571), (0, 0.0571)],
        (0.1, 0.09, 0.09),
        None,
    ),
}
