"""What other things are put into or onto: basket, desk caddy, wine rack; and a book."""

from __future__ import annotations

import numpy as np

from semanticvla_jax.libero.assets import textures
from semanticvla_jax.libero.assets.boxes import Box, parse_boxes
from semanticvla_jax.libero.assets.boxes_fixtures import CONTAINER_BOXES
from semanticvla_jax.libero.assets.layout import OBJECT_FILES
from semanticvla_jax.libero.assets.meshes import Mesh, merge, oriented_boxes
from semanticvla_jax.libero.assets.meshes import box as make_box
from semanticvla_jax.libero.assets.mjcf import (
    STIFF_CONTACT,
    ObjectModel,
    add_collision_box,
    add_region,
)

EXTENTS = (-0.06, 0.04, 0.025)
# Where LIBERO's predicates look: name, then centre (m) | orientation (wxyz) | half extents (m).
REGIONS = {
    "basket": {"contain_region": "0 0 .07185 | 0 0 0 1 | .06108 .06108 .06949"},
    "black_book": {},
    "desk_caddy": {
        "right_contain_region": ".00631 -.14339 .06558 | 0 0 1 0 | .06196 .06216 .06046",
        "left_contain_region": ".00631 .14551 .06558 | 0 0 1 0 | .06196 .06216 .06046",
        "back_contain_region": ".03364 -.00064 .08558 | 0 0 1 0 | .02775 .06216 .06046",
        "front_contain_region": "-.03102 -.00064 .04054 | 0 0 1 -1 | .02775 .03595 .06216",
    },
    "wine_rack": {"top_region": "0 -.08003 .21745 | .8549119 -.5187733 0 0 | .10087 .022 .00251"},
}


def container(name: str) -> ObjectModel:
    """The model of one thing: regions and collision boxes from the tables, looks from below."""
    model = ObjectModel(OBJECT_FILES[name], EXTENTS)
    for region, box in REGIONS[name].items():
        add_region(model.object, region, parse_boxes(box)[0])
    boxes = parse_boxes(CONTAINER_BOXES[name])
    for box in boxes:
        add_collision_box(model.object, box, **STIFF_CONTACT)
    DRAWN_BY[name](model, boxes)
    return model


def _draw(model: ObjectModel, name: str, mesh: Mesh, *, rgba=None, image=None) -> None:
    model.visual(model.object, name, mesh, model.material(name, rgba=rgba, image=image))


def _basket(model: ObjectModel, boxes: list[Box]) -> None:
    weave = textures.wicker((112, 70, 32), (206, 156, 92))
    _draw(model, "weave", oriented_boxes(boxes, tile=0.06), image=weave)
    rims = []
    for wall in boxes[1:]:
        x, y, z = wall.centre
        half = (0.01, 0.0785, 0.006) if abs(x) > abs(y) else (0.086, 0.01, 0.006)
        rims.append(make_box((x, y, z + wall.half_extents[1] + 0.001), half))
    _draw(model, "rim", merge(*rims), rgba=(0.5, 0.3, 0.13))


def _book(model: ObjectModel, boxes: list[Box]) -> None:
    """Standing on its lower edge, spine towards -y."""
    covers = [make_box((x, -0.012, 0.0694), (0.0013, 0.056, 0.0688)) for x in (-0.0135, 0.0126)]
    spine = make_box((-0.00045, -0.0672, 0.0694), (0.0144, 0.0015, 0.0688))
    _draw(model, "cover", merge(*covers, spine), rgba=(0.09, 0.09, 0.11))
    pages = make_box((-0.00045, -0.0125, 0.0694), (0.0118, 0.0532, 0.066))
    _draw(model, "pages", pages, rgba=(0.92, 0.88, 0.78))
    gold = [make_box((x, -0.012, z), (0.0002, 0.036, 0.0035))
            for x in (-0.0149, 0.014) for z in (0.105, 0.09)]  # fmt: skip
    gold.append(make_box((-0.00045, -0.0689, 0.1), (0.008, 0.0002, 0.012)))
    _draw(model, "title", merge(*gold), rgba=(0.85, 0.68, 0.3))


def _caddy(model: ObjectModel, boxes: list[Box]) -> None:
    _draw(model, "walls", oriented_boxes(boxes), rgba=(0.26, 0.3, 0.38))
    floors = [make_box((0.004, y, 0.0145), (0.064, 0.064, 0.0008)) for y in (-0.14, 0.0, 0.14)]
    _draw(model, "felt", merge(*floors), rgba=(0.5, 0.2, 0.2))


def _wine_rack(model: ObjectModel, boxes: list[Box]) -> None:
    shelves, stoppers, stand = boxes[:2], boxes[2:4], boxes[4:]
    slats = [slat for shelf in shelves for slat in _slats(shelf, count=5)]
    pine = textures.wood((196, 150, 96), (228, 190, 136), 21)
    _draw(model, "slats", oriented_boxes(slats), image=pine)
    mahogany = textures.wood((82, 32, 20), (122, 54, 34), 22)
    _draw(model, "stand", oriented_boxes([*stand, *stoppers]), image=mahogany)


def _slats(board: Box, count: int) -> list[Box]:
    """A board sawn lengthwise into slats with gaps between them."""
    thickness, width, length = board.half_extents
    pitch = 2 * width / count
    offsets = (np.arange(count) - (count - 1) / 2) * pitch
    centres = np.asarray(board.centre) + offsets[:, None] * board.rotation[:, 1]
    half_extents = (thickness, 0.36 * pitch, length)
    return [Box(tuple(centre), board.orientation, half_extents) for centre in centres]


DRAWN_BY = {
    "basket": _basket,
    "black_book": _book,
    "desk_caddy": _caddy,
    "wine_rack": _wine_rack,
}
