"""Furniture that moves: two cabinets with three drawers, a stove with a knob, a microwave."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from semanticvla_jax.libero.assets.boxes import Box, parse_boxes
from semanticvla_jax.libero.assets.boxes_fixtures import (
    CABINET_BOXES,
    MICROWAVE_SHELL_BOXES,
    STOVE_KNOB_BOXES,
)
from semanticvla_jax.libero.assets.layout import OBJECT_FILES
from semanticvla_jax.libero.assets.meshes import oriented_boxes
from semanticvla_jax.libero.assets.mjcf import (
    STIFF_CONTACT,
    ObjectModel,
    add,
    add_collision_box,
    add_region,
)

UPRIGHT = (1, 0, 0, 0)
# Height of the middle of each drawer above the cabinet's foot, in metres.
DRAWER_HEIGHTS = {"top": 0.18563, "middle": 0.1169, "bottom": 0.04701}
MICROWAVE_CONTACT = {
    "condim": 3, "contype": 0, "conaffinity": 1, "margin": 0.001,
    "solimp": "0.8 0.9 0.01", "solref": "0.02 1",
}  # fmt: skip
# Parts of the door's handle, capsules: centre, radius and half length, turned about x (rad).
DOOR_HANDLE = (
    ((0.2375, -0.054, 0), (0.01, 0.065), 0),
    ((0.2375, -0.0375, 0.065), (0.01, 0.015), 1.57),
    ((0.2375, -0.0375, -0.065), (0.01, 0.015), 1.57),
)


def cabinet(name: str) -> ObjectModel:
    model = ObjectModel(OBJECT_FILES[name], (-0.045, 0.045, 0.045))
    base = add(model.object, "body", name="base", pos=(0, 0, 0))
    top = Box((0.00354, 0.01567, 0.22152), UPRIGHT, (0.12534, 0.09438, 0.00147))
    add_region(base, "top_side", top)
    colour = (0.35, 0.22, 0.14) if name == "wooden_cabinet" else (0.88, 0.88, 0.88)
    wood = model.material("wood", rgba=colour)
    _solid(model, base, "base", parse_boxes(CABINET_BOXES["base"]), wood)
    for level, height in DRAWER_HEIGHTS.items():
        drawer = _moving_body(base, f"cabinet_{level}")
        add(drawer, "joint", name=f"{level}_level", type="slide", pos=(0, 0, 0), axis=(0, 1, 0),
            limited=True, range=(-0.16, 0.01), damping=50)  # fmt: skip
        hollow = Box((0.00328, 0.01128, height), (1, 0, 1, 0), (0.02993, 0.07561, 0.10224))
        add_region(drawer, f"{level}_region", hollow)
        _solid(model, drawer, level, parse_boxes(CABINET_BOXES[drawer.get("name")]), wood)
    return model


def stove(name: str = "flat_stove") -> ObjectModel:
    model = ObjectModel(OBJECT_FILES[name], (-0.045, 0.045, 0.045))
    metal = model.material("metal", rgba=(0.6, 0.6, 0.62))
    base = add(model.object, "body", name="base", pos=(0, 0, 0))
    burner = add(base, "body", name="burner", pos=(0.15, 0, 0))
    add_region(burner, "cook_region", Box((0, 0, 0), UPRIGHT, (0.075, 0.075, 0.0025)))
    # Both plates touch: the one the cameras see and the one they do not.
    plate = {"type": "box", "pos": (0, 0, 0), "size": (0.095, 0.095, 0.02), "material": metal}
    add(burner, "geom", name="base_vis", group=1, **plate)
    add(burner, "geom", name="base", group=0, **plate)
    add(burner, "geom", name="collision_burner", type="box", pos=(0, 0, 0.025),
        size=(0.095, 0.095, 0.0005), group=0, rgba="0 0 0 0")  # fmt: skip
    add(burner, "body", name="burner_plate")
    # Lights up when the knob is turned on.
    add(burner, "site", name="burner", type="cylinder", pos=(0, 0, 0.022), size=(0.0625, 0.0005),
        rgba="0.9 0.05 0.05 1")  # fmt: skip
    knob = _moving_body(base, "button", quat=(1, 0, 0, 1))
    add(knob, "joint", name="button", type="hinge", pos=(0, 0, 0), axis=(0, 0, 1), limited=True,
        range=(-0.005, 2.1), damping=1)  # fmt: skip
    black = model.material("black", rgba=(0.1, 0.1, 0.1))
    _solid(model, knob, "knob", parse_boxes(STOVE_KNOB_BOXES), black)
    return model


def microwave(name: str = "microwave") -> ObjectModel:
    model = ObjectModel(OBJECT_FILES[name], (-0.06, 0.06, 0.015))
    black = model.material("black", rgba=(0.2, 0.2, 0.2))
    top = Box((0, 0.01, 0.2), UPRIGHT, (0.12, 0.0835, 0.005))
    inside = Box((0, 0.01, 0.096), UPRIGHT, (0.12, 0.0835, 0.08))
    add_region(model.object, "top_side", top)
    add_region(model.object, "heating_region", inside)
    shell = parse_boxes(MICROWAVE_SHELL_BOXES)
    for part in shell:
        add_collision_box(model.object, part, mass=0.5, **MICROWAVE_CONTACT)
    model.visual(model.object, "shell", oriented_boxes(shell), black)
    door = add(model.object, "body", name="microdoorroot", pos=(-0.1725, -0.088, 0.096))
    add(door, "joint", name="microjoint", type="hinge", axis=(0, 0, 1), limited=True,
        range=(-2.094, 0), damping=0.5)  # fmt: skip
    for centre, size, turn in DOOR_HANDLE:
        add(door, "geom", type="capsule", pos=centre, size=size, euler=(turn, 0, 0), group=0,
            mass=0.02, **MICROWAVE_CONTACT)  # fmt: skip
    panel = Box((0.1295, -0.013, 0), UPRIGHT, (0.1295, 0.012, 0.0925))
    add_collision_box(door, panel, mass=0.2, **MICROWAVE_CONTACT)
    model.visual(door, "door", oriented_boxes([panel]), black)
    return model


def _moving_body(parent: Element, name: str, **placement) -> Element:
    body = add(parent, "body", name=name, pos=(0, 0, 0), **placement)
    add(body, "inertial", pos=(0, 0, 0), mass=3, diaginertia=(1, 1, 1))
    return body


def _solid(model: ObjectModel, body: Element, name: str, boxes: list[Box], material: str) -> None:
    """Boxes that both touch and are drawn."""
    for part in boxes:
        add_collision_box(body, part, **STIFF_CONTACT)
    model.visual(body, name, oriented_boxes(boxes), material)
