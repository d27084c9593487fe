"""Furniture that moves: two cabinets with three drawers, a stove with a knob, a microwave."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from semanticvla_jax.libero.assets import textures
from semanticvla_jax.libero.assets.boxes import Box, parse_boxes
from semanticvla_jax.libero.assets.boxes_fixtures import (
    CABINET_BOXES,
    MICROWAVE_SHELL_BOXES,
    STOVE_KNOB_BOXES,
)
from semanticvla_jax.libero.assets.labels import keypad
from semanticvla_jax.libero.assets.layout import OBJECT_FILES
from semanticvla_jax.libero.assets.meshes import box, lathe, merge, oriented_boxes, tube
from semanticvla_jax.libero.assets.mjcf import (
    STIFF_CONTACT,
    ObjectModel,
    add,
    add_collision_box,
    add_region,
)

UPRIGHT = (1, 0, 0, 0)
STEEL, BLACK = (0.7, 0.71, 0.73), (0.07, 0.07, 0.075)
# Height of the middle of each drawer above the cabinet's foot, in metres.
DRAWER_HEIGHTS = {"top": 0.18563, "middle": 0.1169, "bottom": 0.04701}
# Darkest and lightest wood of carcass and drawers.
CABINET_WOODS = {
    "wooden_cabinet": (((58, 32, 18), (92, 54, 32)), ((92, 54, 30), (134, 84, 50))),
    "white_cabinet": (((198, 198, 194), (216, 216, 212)), ((232, 232, 228), (246, 246, 244))),
}
MICROWAVE_CONTACT = {
    "condim": 3, "contype": 0, "conaffinity": 1, "margin": 0.001,
    "solimp": "0.8 0.9 0.01", "solref": "0.02 1",
}  # fmt: skip
# Parts of the door's handle, capsules: centre, radius and half length (m), turned about x (rad).
DOOR_HANDLE = (
    ((0.2375, -0.054, 0), (0.01, 0.065), 0),
    ((0.2375, -0.0375, 0.065), (0.01, 0.015), 1.57),
    ((0.2375, -0.0375, -0.065), (0.01, 0.015), 1.57),
)


def cabinet(name: str) -> ObjectModel:
    """A cabinet whose three drawers slide out towards -y."""
    model = ObjectModel(OBJECT_FILES[name], (-0.045, 0.045, 0.045))
    carcass_wood, drawer_wood = CABINET_WOODS[name]
    carcass = model.material("carcass", image=textures.wood(*carcass_wood, 31))
    front = model.material("drawer", image=textures.wood(*drawer_wood, 32))
    steel = model.material("steel", rgba=STEEL, specular=0.8)
    base = add(model.object, "body", name="base", pos=(0, 0, 0))
    top = Box((0.00354, 0.01567, 0.22152), UPRIGHT, (0.12534, 0.09438, 0.00147))
    add_region(base, "top_side", top)
    boxes = _touching(base, CABINET_BOXES["base"])
    model.visual(base, "base", oriented_boxes(boxes), carcass)
    for level, height in DRAWER_HEIGHTS.items():
        drawer = _moving_body(base, f"cabinet_{level}")
        add(drawer, "joint", name=f"{level}_level", type="slide", pos=(0, 0, 0), axis=(0, 1, 0),
            limited=True, range=(-0.16, 0.01), damping=50)  # fmt: skip
        hollow = Box((0.00328, 0.01128, height), (1, 0, 1, 0), (0.02993, 0.07561, 0.10224))
        add_region(drawer, f"{level}_region", hollow)
        boxes = _touching(drawer, CABINET_BOXES[f"cabinet_{level}"])
        model.visual(drawer, level, oriented_boxes(boxes[:-3]), front)
        model.visual(drawer, f"{level}_handle", oriented_boxes(boxes[-3:]), steel)
    return model


def stove(name: str = "flat_stove") -> ObjectModel:
    """A hot plate that glows when the knob beside it is turned on."""
    model = ObjectModel(OBJECT_FILES[name], (-0.045, 0.045, 0.045))
    metal = model.material("metal", rgba=(0.36, 0.37, 0.4), specular=0.6)
    iron = model.material("iron", rgba=(0.13, 0.13, 0.14))
    base = add(model.object, "body", name="base", pos=(0, 0, 0))
    burner = add(base, "body", name="burner", pos=(0.15, 0, 0))
    add_region(burner, "cook_region", Box((0, 0, 0), UPRIGHT, (0.075, 0.075, 0.0025)))
    # Both plates touch: the one the cameras see and the one they do not.
    plate = {"type": "box", "pos": (0, 0, 0), "size": (0.095, 0.095, 0.02), "material": metal}
    add(burner, "geom", name="base_vis", group=1, **plate)
    add(burner, "geom", name="base", group=0, **plate)
    add(burner, "geom", name="collision_burner", type="box", pos=(0, 0, 0.025),
        size=(0.095, 0.095, 0.0005), group=0, rgba="0 0 0 0")  # fmt: skip
    rings = [lathe([(r, 0.02), (r, 0.0252), (r - 0.0085, 0.0252), (r - 0.0085, 0.02)])
             for r in (0.065, 0.0475, 0.03)]  # fmt: skip
    plate = add(burner, "body", name="burner_plate")
    model.visual(plate, "rings", merge(*rings), iron)
    # Lights up when the knob is turned on.
    add(burner, "site", name="burner", type="cylinder", pos=(0, 0, 0.022), size=(0.0625, 0.0005),
        rgba="0.9 0.05 0.05 1")  # fmt: skip
    knob = _moving_body(base, "button", quat=(1, 0, 0, 1))
    add(knob, "joint", name="button", type="hinge", pos=(0, 0, 0), axis=(0, 0, 1), limited=True,
        range=(-0.005, 2.1), damping=1)  # fmt: skip
    _touching(knob, STOVE_KNOB_BOXES)
    disc = lathe([(0.046, 0), (0.046, 0.011), (0.044, 0.0128), (0, 0.0128)], segments=20)
    bar = box((0.0013, 0.0045, 0.033), (0.0115, 0.0455, 0.0205))
    model.visual(knob, "knob", merge(disc.transformed(None, (0.0013, 0.004, 0)), bar), iron)
    mark = box((0.0013, 0.033, 0.0537), (0.003, 0.014, 0.0004))
    model.visual(knob, "mark", mark, model.material("mark", rgba=(0.9, 0.2, 0.15)))
    return model


def microwave(name: str = "microwave") -> ObjectModel:
    """A microwave oven whose door, facing -y, swings open to the left."""
    model = ObjectModel(OBJECT_FILES[name], (-0.06, 0.06, 0.015))
    black = model.material("black", rgba=(0.15, 0.15, 0.165), specular=0.4)
    glass = model.material("glass", rgba=(0.05, 0.06, 0.075), specular=0.9, shininess=0.8)
    steel = model.material("steel", rgba=STEEL, specular=0.8)
    top = Box((0, 0.01, 0.2), UPRIGHT, (0.12, 0.0835, 0.005))
    inside = Box((0, 0.01, 0.096), UPRIGHT, (0.12, 0.0835, 0.08))
    add_region(model.object, "top_side", top)
    add_region(model.object, "heating_region", inside)
    shell = _touching(model.object, MICROWAVE_SHELL_BOXES, mass=0.5, **MICROWAVE_CONTACT)
    model.visual(model.object, "shell", oriented_boxes(shell), black)
    keys = box((0.13, -0.111, 0.0935), (0.034, 0.0006, 0.078))
    model.visual(model.object, "keys", keys, model.material("keys", image=keypad()))
    turntable = lathe([(0.07, 0.0245), (0.07, 0.027), (0, 0.027)]).transformed(None, (-0.04, 0, 0))
    model.visual(model.object, "turntable", turntable, steel)
    door = add(model.object, "body", name="microdoorroot", pos=(-0.1725, -0.088, 0.096))
    add(door, "joint", name="microjoint", type="hinge", axis=(0, 0, 1), limited=True,
        range=(-2.094, 0), damping=0.5)  # fmt: skip
    for centre, size, turn in DOOR_HANDLE:
        add(door, "geom", type="capsule", pos=centre, size=size, euler=(turn, 0, 0), group=0,
            mass=0.02, **MICROWAVE_CONTACT)  # fmt: skip
    panel = Box((0.1295, -0.013, 0), UPRIGHT, (0.1295, 0.012, 0.0925))
    add_collision_box(door, panel, mass=0.2, **MICROWAVE_CONTACT)
    model.visual(door, "door", oriented_boxes([panel]), black)
    window = [box((0.1295, y, 0), (0.086, 0.0006, 0.06)) for y in (-0.0252, -0.0008)]
    model.visual(door, "window", merge(*window), glass)
    path = [(0.2375, -0.022, 0.066), (0.2375, -0.05, 0.062), (0.2375, -0.055, 0.05),
            (0.2375, -0.055, -0.05), (0.2375, -0.05, -0.062), (0.2375, -0.022, -0.066)]  # fmt: skip
    model.visual(door, "handle", tube(path, 0.009, sides=8), steel)
    return model


def _moving_body(parent: Element, name: str, **placement) -> Element:
    body = add(parent, "body", name=name, pos=(0, 0, 0), **placement)
    add(body, "inertial", pos=(0, 0, 0), mass=3, diaginertia=(1, 1, 1))
    return body


def _touching(body: Element, table: str, **contact) -> list[Box]:
    """Adds a table's collision boxes, and returns them to be drawn."""
    boxes = parse_boxes(table)
    for part in boxes:
        add_collision_box(body, part, **(contact or STIFF_CONTACT))
    return boxes
