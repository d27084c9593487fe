"""Bowls, plates, mugs, pots and bottles."""

from __future__ import annotations

from semanticvla_jax.libero.assets.boxes import parse_boxes
from semanticvla_jax.libero.assets.boxes_tableware import TABLEWARE_BOXES
from semanticvla_jax.libero.assets.layout import OBJECT_FILES
from semanticvla_jax.libero.assets.meshes import oriented_boxes
from semanticvla_jax.libero.assets.mjcf import STIFF_CONTACT, ObjectModel, add_collision_box

EXTENTS = (-0.06, 0.04, 0.025)
COLOURS = {
    "akita_black_bowl": (0.13, 0.13, 0.14), "plate": (0.9, 0.9, 0.86),
    "chefmate_8_frypan": (0.15, 0.15, 0.17), "glazed_rim_porcelain_ramekin": (0.93, 0.92, 0.88),
    "moka_pot": (0.6, 0.62, 0.65), "porcelain_mug": (0.96, 0.96, 0.96),
    "red_coffee_mug": (0.75, 0.12, 0.12), "white_yellow_mug": (0.95, 0.85, 0.35),
    "wine_bottle": (0.12, 0.25, 0.15),
}  # fmt: skip


def tableware(name: str) -> ObjectModel:
    model = ObjectModel(OBJECT_FILES[name], EXTENTS)
    if name == "akita_black_bowl":
        model.object.set("pos", "0 -0.1 0")
    boxes = parse_boxes(TABLEWARE_BOXES[name])
    for box in boxes:
        add_collision_box(model.object, box, **STIFF_CONTACT)
    model.visual(
        model.object, name, oriented_boxes(boxes), model.material(name, rgba=COLOURS[name])
    )
    return model
