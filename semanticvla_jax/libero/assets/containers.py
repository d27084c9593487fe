"""What other things are put into or onto: basket, desk caddy, wine rack; and a book."""

from __future__ import annotations

from semanticvla_jax.libero.assets.boxes import parse_boxes
from semanticvla_jax.libero.assets.boxes_fixtures import CONTAINER_BOXES
from semanticvla_jax.libero.assets.layout import OBJECT_FILES
from semanticvla_jax.libero.assets.meshes import oriented_boxes
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
    "wine_rack": {"top_region": "0 -.08003 .21745 | .85491 -.51877 0 0 | .10087 .022 .00251"},
}
COLOURS = {
    "basket": (0.6, 0.42, 0.24), "black_book": (0.1, 0.1, 0.12), "desk_caddy": (0.3, 0.32, 0.36),
    "wine_rack": (0.45, 0.3, 0.18),
}  # fmt: skip


def container(name: str) -> ObjectModel:
    model = ObjectModel(OBJECT_FILES[name], EXTENTS)
    for region, box in REGIONS[name].items():
        add_region(model.object, region, parse_boxes(box)[0])
    boxes = parse_boxes(CONTAINER_BOXES[name])
    for box in boxes:
        add_collision_box(model.object, box, **STIFF_CONTACT)
    model.visual(
        model.object, name, oriented_boxes(boxes), model.material(name, rgba=COLOURS[name])
    )
    return model
