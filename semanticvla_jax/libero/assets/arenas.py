"""The five rooms: floor, walls, lights, cameras, the table and what stands in the background."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from semanticvla_jax.libero.assets import backgrounds, textures
from semanticvla_jax.libero.assets.boxes import Box, parse_boxes
from semanticvla_jax.libero.assets.boxes_fixtures import TABLE_BOXES
from semanticvla_jax.libero.assets.layout import ARENA_FILES, STYLE_TEXTURES, WOODEN_TABLE_TEXTURE
from semanticvla_jax.libero.assets.meshes import box, lathe, merge, oriented_boxes
from semanticvla_jax.libero.assets.mjcf import STIFF_CONTACT, Model, add, add_collision_box

# Walls (visual only): name, centre, orientation, half width, in metres.
LEFT_AND_RIGHT = (
    ("wall_left_visual", (1.25, 3, 1.5), (1, 1, 0, 0), 1.75),
    ("wall_right_visual", (1.25, -3, 1.5), (1, -1, 0, 0), 1.75),
    ("wall_rear_visual", (-2, 0, 1.5), (1, 1, 1, 1), 1.5),
)
CORNERS = (
    ("wall_leftcorner_visual", (-1.25, 2.25, 1.5), (0.65328, 0.65328, 0.27060, 0.27060), 1.06),
    ("wall_rightcorner_visual", (-1.25, -2.25, 1.5), (0.65328, 0.65328, -0.27060, -0.27060), 1.06),
)
LONG_WALLS = (
    ("wall_left_visual", (0.5, 3, 1.5), (1, 1, 0, 0), 2.5),
    ("wall_right_visual", (0.5, -3, 1.5), (1, -1, 0, 0), 2.5),
    ("wall_rear_visual", (-2, 0, 1.5), (1, 1, 1, 1), 3.0),
)
FRONT = ("wall_front_visual", (3, 0, 1.5), (1, 1, -1, -1), 3.0)

# Fixed cameras: name, position, orientation (wxyz). LIBERO moves agentview for each room.
CAMERAS = (
    ("frontview", (1.0, 0, 1.45), (0.56, 0.43, 0.43, 0.56)),
    ("birdview", (-0.2, 0, 3.0), (0.7071, 0, 0, 0.7071)),
    ("agentview", (0.5, 0, 1.35), (0.653, 0.271, 0.271, 0.653)),
    ("sideview", (-0.0565177, 1.2761224, 1.4879572), (0.0099051, 0.006878, 0.5912228, 0.8064181)),
)


def _room(name: str, walls, *, floor_in_body: bool) -> Model:
    """Floor, walls, lights and cameras. LIBERO itself fills in the floor and wall textures."""
    model = Model(ARENA_FILES[name])
    add(model.assets, "texture", type="skybox", builtin="gradient", width=32, height=32,
        rgb1="0.9 0.9 1", rgb2="0.2 0.3 0.4")  # fmt: skip
    for texture, file in (
        ("texplane", STYLE_TEXTURES["floor tiles"]),
        ("tex-wall", STYLE_TEXTURES["plaster"]),
    ):
        add(model.assets, "texture", name=texture, type="2d", file=f"../{file}")
    add(model.assets, "material", name="floorplane", texture="texplane", texrepeat=(2, 2),
        texuniform=True, specular=0, shininess=0, reflectance=0)  # fmt: skip
    add(model.assets, "material", name="walls_mat", texture="tex-wall", texrepeat=(2, 2),
        texuniform=True, specular=0.2, shininess=0.1, reflectance=0)  # fmt: skip
    world = model.worldbody
    floor = add(world, "body", name="floor", pos=(0, 0, 0)) if floor_in_body else world
    add(floor, "geom", name="floor", type="plane", size=(3, 3, 0.125), pos=(0, 0, 0),
        condim=3, group=1, material="floorplane")  # fmt: skip
    for wall, centre, orientation, half_width in (*walls, FRONT):
        add(world, "geom", name=wall, type="box", pos=centre, quat=orientation,
            size=(half_width, 1.5, 0.01), contype=0, conaffinity=0, group=1,
            material="walls_mat")  # fmt: skip
    for light, position in (("light1", (1, 1, 4)), ("light2", (-3, -3, 4))):
        add(world, "light", name=light, pos=position, dir=(0, -0.15, -1), cutoff=80, exponent=2,
            ambient=(0.06, 0.06, 0.06), diffuse=(0.52, 0.52, 0.5), specular=(0.3, 0.3, 0.3),
            directional=False, castshadow=False)  # fmt: skip
    for camera, position, orientation in CAMERAS:
        add(world, "camera", name=camera, mode="fixed", pos=position, quat=orientation)
    return model


def _add_sized_table(model: Model) -> Element:
    """The table of the two rooms in which LIBERO's code sets its size, legs included."""
    add(model.assets, "texture", name="tex-table", type="cube", file=f"../{WOODEN_TABLE_TEXTURE}")
    add(model.assets, "material", name="table_texture", texture="tex-table", specular=0.1)
    table = add(model.worldbody, "body", name="table", pos=(0, 0, 0.4))
    shape = {"type": "box", "pos": (0, 0, 0), "size": (0.4, 0.4, 0.4)}
    add(table, "geom", name="table_collision", group=0, friction="1 0.005 0.0001", **shape)
    add(table, "geom", name="table_visual", contype=0, conaffinity=0, group=1,
        material="table_texture", **shape)  # fmt: skip
    add(table, "site", name="table_top", pos=(0, 0, 0.4), size=(0.001,) * 3, rgba="0 0 0 0")
    for leg in range(1, 5):
        add(table, "geom", name=f"table_leg{leg}_visual", type="cylinder", pos=(0, 0, 0),
            size=(0.05, 0.1), contype=0, conaffinity=0, group=1, rgba="0 0 0 0")  # fmt: skip
    return table


def _add_fixed_table(model: Model, body: Element, name: str) -> list[Box]:
    """Collision boxes of a table that stays as it is; returns the boxes."""
    boxes = parse_boxes(TABLE_BOXES[name])
    for part in boxes:
        add_collision_box(body, part, **STIFF_CONTACT)
    return boxes


def floor() -> Model:
    return _room("floor", (*CORNERS, *LEFT_AND_RIGHT), floor_in_body=True)


def tabletop() -> Model:
    model = _room("tabletop", (*CORNERS, *LEFT_AND_RIGHT), floor_in_body=False)
    _add_sized_table(model)
    return model


def kitchen_tabletop() -> Model:
    model = _room("kitchen_tabletop", LONG_WALLS, floor_in_body=False)
    _add_sized_table(model)
    backgrounds.kitchen_counter(model)
    return model


def living_room_tabletop() -> Model:
    """A low oval table: what touches is a rectangle a little larger than what is seen."""
    model = _room("living_room_tabletop", (*CORNERS, *LEFT_AND_RIGHT), floor_in_body=True)
    outer = add(model.worldbody, "body", name="living_room_table", pos=(0, 0, 0))
    table = add(outer, "body", name="living_room_table_col", pos=(-0.25, 0.25, 0),
                quat=(0.707, 0, 0, 0.707))  # fmt: skip
    _add_fixed_table(model, table, "living_room_table")
    wood = model.material("table", image=textures.wood((112, 74, 46), (150, 106, 70), 12))
    top = lathe([(0.94, 0.4), (1, 0.41), (1, 0.4368), (0, 0.4368)], segments=40)
    top = top.stretched((0.93, 0.62, 1)).transformed(None, (-0.21, -0.01, 0))
    model.visual(table, "table_top", top.textured_from_above(0.9), wood)
    legs = [box((x, y, 0.2), (0.04, 0.04, 0.2)) for x in (-0.7, 0.28) for y in (-0.33, 0.31)]
    model.visual(table, "table_legs", merge(*legs), wood)
    backgrounds.sideboard(model)
    backgrounds.painting(model, 0.55, 1.35)
    return model


def study() -> Model:
    model = _room("study", (*CORNERS, *LEFT_AND_RIGHT), floor_in_body=False)
    table = add(model.worldbody, "body", name="study_table", pos=(0, 0, 0))
    boxes = _add_fixed_table(model, table, "study_table")
    wood = model.material("table", image=textures.wood((146, 104, 64), (184, 140, 94), 13))
    model.visual(table, "table", oriented_boxes(boxes, tile=1.0), wood)
    backgrounds.book_shelf(model)
    backgrounds.plant(model, -1.6, 0.5)
    backgrounds.painting(model, 0.95, 1.35)
    return model


ARENAS = (floor, tabletop, kitchen_tabletop, living_room_tabletop, study)
