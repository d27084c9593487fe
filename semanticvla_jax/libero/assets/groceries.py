"""Cans, bottles, cartons and boxes."""

from __future__ import annotations

from semanticvla_jax.libero.assets.boxes import parse_boxes
from semanticvla_jax.libero.assets.boxes_groceries import GROCERY_BOXES
from semanticvla_jax.libero.assets.layout import OBJECT_FILES
from semanticvla_jax.libero.assets.meshes import oriented_boxes
from semanticvla_jax.libero.assets.mjcf import STIFF_CONTACT, ObjectModel, add_collision_box

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
COLOURS = {
    "alphabet_soup": (0.75, 0.13, 0.15), "bbq_sauce": (0.28, 0.12, 0.08),
    "butter": (0.9, 0.75, 0.25), "chocolate_pudding": (0.35, 0.2, 0.12),
    "cookies": (0.75, 0.55, 0.2), "cream_cheese": (0.3, 0.45, 0.78),
    "ketchup": (0.8, 0.1, 0.1), "milk": (0.93, 0.93, 0.97), "orange_juice": (0.95, 0.58, 0.1),
    "salad_dressing": (0.3, 0.45, 0.2), "tomato_sauce": (0.16, 0.45, 0.2),
}  # fmt: skip


def grocery(name: str) -> ObjectModel:
    model = ObjectModel(OBJECT_FILES[name], EXTENTS[name])
    boxes = parse_boxes(GROCERY_BOXES[name])
    for box in boxes:
        add_collision_box(model.object, box, **STIFF_CONTACT)
    model.visual(
        model.object, name, oriented_boxes(boxes), model.material(name, rgba=COLOURS[name])
    )
    return model
