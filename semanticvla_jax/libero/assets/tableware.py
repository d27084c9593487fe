"""Bowls, plates, mugs, pots and bottles, most of them turned on a lathe. All stand along +z."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from semanticvla_jax.libero.assets import labels
from semanticvla_jax.libero.assets.boxes import parse_boxes
from semanticvla_jax.libero.assets.boxes_tableware import TABLEWARE_BOXES
from semanticvla_jax.libero.assets.layout import OBJECT_FILES
from semanticvla_jax.libero.assets.meshes import Mesh, lathe, merge, tube
from semanticvla_jax.libero.assets.mjcf import STIFF_CONTACT, ObjectModel, add_collision_box

# Bottom, top and radius (m) as the placement sampler uses them.
EXTENTS = (-0.06, 0.04, 0.025)
PORCELAIN, IVORY = (0.89, 0.89, 0.88), (0.88, 0.84, 0.75)
BLACK, STEEL = (0.07, 0.07, 0.075), (0.7, 0.71, 0.73)


def tableware(name: str) -> ObjectModel:
    """The model of one thing: collision boxes from the table, looks from `DRAWN_BY`."""
    model = ObjectModel(OBJECT_FILES[name], EXTENTS)
    for part in parse_boxes(TABLEWARE_BOXES[name]):
        add_collision_box(model.object, part, **STIFF_CONTACT)
    DRAWN_BY[name](model)
    return model


def _draw(model: ObjectModel, name: str, mesh: Mesh, rgba, **look) -> None:
    look = {"specular": 0.5, "shininess": 0.5, **look}
    model.visual(model.object, name, mesh, model.material(name, rgba=rgba, **look))


def _handle(base: Sequence[float], tip: Sequence[float], reach: float, radius: float) -> Mesh:
    """A mug's ear: a bar that bows out by `reach` (m, along x) between two points (x, z)."""
    t = np.linspace(0, np.pi, 7)
    along = (1 - np.cos(t)) / 2
    x = base[0] + along * (tip[0] - base[0]) + reach * np.sin(t) ** 0.7
    z = base[1] + along * (tip[1] - base[1])
    return tube(np.stack([x, 0 * x, z], 1), radius)


def _bowl(model: ObjectModel) -> None:
    # The bowl's frame lies beside it, as its initial states expect.
    model.object.set("pos", "0 -0.1 0")
    outside = [(0, 0.0015), (0.0295, 0.0015), (0.0335, 0.0085), (0.0425, 0.0235), (0.0495, 0.0405),
               (0.0539, 0.0522)]  # fmt: skip
    inside = [(0.0515, 0.0522), (0.0455, 0.036), (0.0375, 0.0215), (0.025, 0.0095), (0, 0.0068)]
    _draw(model, "outside", lathe(outside, segments=20), (0.09, 0.09, 0.1))
    rim = lathe([outside[-1], inside[0]], segments=20)
    _draw(model, "inside", lathe(inside, segments=20), (0.15, 0.15, 0.165))
    _draw(model, "rim", rim, (0.32, 0.32, 0.34))


def _plate(model: ObjectModel) -> None:
    well = [(0.0455, 0.0045), (0, 0.0045)]
    band = [(0.063, 0.0135), (0.0575, 0.0105)]
    rim = [(0, 0.0005), (0.043, 0.0005), (0.067, 0.0135), (0.0686, 0.0163), band[0]]
    inner = [band[1], well[0]]
    white = merge(*(lathe(part, segments=24) for part in (rim, inner, well)))
    _draw(model, "plate", white, PORCELAIN)
    _draw(model, "band", lathe(band, segments=24), (0.35, 0.5, 0.68))


def _ramekin(model: ObjectModel) -> None:
    fluted = [(0.0385, 0.003), (0.0415, 0.0345)]
    _draw(model, "wall", lathe(fluted, segments=20, faceted=True), (0.8, 0.68, 0.5))
    glazed = [(0, 0.0005), (0.038, 0.0005), fluted[0]]
    rim = [fluted[1], (0.044, 0.036), (0.0443, 0.0433), (0.0395, 0.0433), (0.0365, 0.0085),
           (0, 0.0075)]  # fmt: skip
    white = merge(lathe(glazed, segments=20), lathe(rim, segments=20))
    _draw(model, "glaze", white, IVORY)


def _frying_pan(model: ObjectModel) -> None:
    middle = (0.0065, 0, 0)
    outside = [(0, 0), (0.0735, 0), (0.09, 0.018), (0.0995, 0.037)]
    rim = [(0.0995, 0.037), (0.102, 0.039), (0.0985, 0.039)]
    inside = [(0.0985, 0.039), (0.088, 0.019), (0.073, 0.0045), (0, 0.0045)]
    _draw(model, "outside", lathe(outside, segments=20).transformed(None, middle), (0.2, 0.2, 0.22))
    _draw(model, "rim", lathe(rim, segments=20).transformed(None, middle), STEEL)
    _draw(model, "inside", lathe(inside, segments=20).transformed(None, middle), (0.12, 0.12, 0.13))
    path = [
        (0.1, 0, 0.03),
        (0.135, 0, 0.0345),
        (0.19, 0, 0.043),
        (0.24, 0, 0.049),
        (0.262, 0, 0.049),
    ]
    _draw(model, "handle", tube(path, 0.006).stretched((1, 1.7, 1)), BLACK)


def _mug(
    wall: Sequence[tuple[float, float]],
    axis: Sequence[float],
    ear: Mesh,
    colours: Sequence[Sequence[float]],
    band: int | None = None,
) -> Callable[[ObjectModel], None]:
    """A mug with `wall` (radius, height) from foot to rim around `axis` (x, y).

    `colours` are those of outside and inside; from point `band` of the wall on, if given, the
    outside has the inner one too.
    """

    def draw(model: ObjectModel) -> None:
        foot, rim = wall[0], wall[-1]
        start = len(wall) - 1 if band is None else band
        inner = [(radius - 0.004, height) for radius, height in wall[-2:0:-1]]
        inside = lathe([*wall[start:], (rim[0] - 0.0035, rim[1]), *inner, (foot[0] - 0.005, 0.006),
                        (0, 0.006)])  # fmt: skip
        outside = lathe([(0, foot[1]), *wall[: start + 1]])
        place = (None, (*axis, 0))
        _draw(model, "outside", merge(outside.transformed(*place), ear), colours[0], emission=0.12)
        _draw(model, "inside", inside.transformed(*place), colours[1], emission=0.12)

    return draw


def _moka_pot(model: ObjectModel) -> None:
    boiler = [(0, -0.067), (0.0372, -0.067), (0.0372, -0.06), (0.033, -0.012)]
    belt = [(0.0345, -0.012), (0.0345, 0.0005)]
    pot = [(0.0318, 0.0005), (0.0345, 0.012), (0.0396, 0.0655), (0.03, 0.0685), (0.004, 0.0725)]
    body = merge(
        lathe(boiler, segments=8, faceted=True),
        lathe(pot, segments=8, faceted=True),
        lathe([(0.0085, 0.035), (0.0045, 0.066)], segments=4).transformed(None, (0, -0.045, 0)),
        tube([(0, -0.034, 0.045), (0, -0.05, 0.056), (0, -0.06, 0.0665)], 0.006),
    )
    _draw(model, "body", body, (0.74, 0.75, 0.77), specular=0.8)
    _draw(model, "belt", lathe(belt, segments=12), (0.5, 0.51, 0.53))
    path = [(0, 0.034, 0.053), (0, 0.056, 0.064), (0, 0.078, 0.061), (0, 0.079, 0.042),
            (0, 0.069, 0.018), (0, 0.057, -0.008)]  # fmt: skip
    knob = lathe([(0.004, 0.0715), (0.0079, 0.079), (0.0079, 0.085), (0, 0.0871)], segments=8)
    _draw(model, "handle", merge(tube(path, 0.0062), knob), BLACK)


def _wine_bottle(model: ObjectModel) -> None:
    glass = [(0, 0), (0.0216, 0), (0.0216, 0.062), (0.0182, 0.081)]
    glass += [(0.0105, 0.098), (0.0078, 0.118), (0.0078, 0.142)]
    capsule = [(0.0084, 0.126), (0.0084, 0.1588), (0, 0.1588)]
    _draw(model, "glass", lathe(glass), (0.06, 0.13, 0.07), specular=0.8)
    _draw(model, "capsule", lathe(capsule, segments=12), (0.5, 0.08, 0.13))
    label = model.material("label", image=labels.wine())
    around = lathe([(0.0219, 0.01), (0.0219, 0.058)], turns=2)
    model.visual(model.object, "label", around, label)


DRAWN_BY: dict[str, Callable[[ObjectModel], None]] = {
    "akita_black_bowl": _bowl,
    "plate": _plate,
    "glazed_rim_porcelain_ramekin": _ramekin,
    "chefmate_8_frypan": _frying_pan,
    "moka_pot": _moka_pot,
    "wine_bottle": _wine_bottle,
    "porcelain_mug": _mug(
        [(0.033, 0.001), (0.0386, 0.0143), (0.0437, 0.0334), (0.047, 0.0525), (0.0482, 0.0812),
         (0.0477, 0.1146)],
        (0.0168, -0.0018),
        _handle((-0.023, 0.024), (-0.029, 0.092), -0.037, 0.0052),
        (PORCELAIN, (0.82, 0.83, 0.84)),
    ),
    "red_coffee_mug": _mug(
        [(0.0362, 0.001), (0.0378, 0.028), (0.039, 0.0506), (0.0408, 0.084), (0.0427, 0.118),
         (0.0453, 0.1345)],
        (-0.0168, -0.0011),
        _handle((0.02, 0.022), (0.024, 0.112), 0.036, 0.0055),
        ((0.78, 0.08, 0.09), PORCELAIN),
    ),
    "white_yellow_mug": _mug(
        [(0.031, 0.001), (0.0395, 0.0131), (0.0413, 0.0306), (0.0437, 0.048), (0.0475, 0.0742),
         (0.0512, 0.1045)],
        (-0.0178, -0.001),
        _handle((0.022, 0.02), (0.027, 0.088), 0.041, 0.0052),
        ((0.95, 0.76, 0.12), PORCELAIN),
        band=4,
    ),
}  # fmt: skip
