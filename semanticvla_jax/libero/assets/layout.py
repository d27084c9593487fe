"""Where LIBERO looks for its MJCF files, relative to an assets directory."""

from __future__ import annotations

from pathlib import Path

GROCERIES = (
    "alphabet_soup",
    "bbq_sauce",
    "butter",
    "chocolate_pudding",
    "cookies",
    "cream_cheese",
    "ketchup",
    "milk",
    "orange_juice",
    "salad_dressing",
    "tomato_sauce",
)
SCANNED = (
    "akita_black_bowl",
    "basket",
    "chefmate_8_frypan",
    "glazed_rim_porcelain_ramekin",
    "plate",
)
MODELLED = (
    "black_book",
    "desk_caddy",
    "moka_pot",
    "porcelain_mug",
    "red_coffee_mug",
    "white_yellow_mug",
    "wine_bottle",
    "wine_rack",
)
ARTICULATED = ("flat_stove", "microwave", "white_cabinet", "wooden_cabinet")
ARENAS = ("floor", "kitchen_tabletop", "living_room_tabletop", "study", "tabletop")

OBJECT_FILES = {
    **{name: f"stable_hope_objects/{name}/{name}.xml" for name in GROCERIES},
    **{name: f"stable_scanned_objects/{name}/{name}.xml" for name in SCANNED},
    **{name: f"turbosquid_objects/{name}/{name}.xml" for name in MODELLED},
    **{name: f"articulated_objects/{name}.xml" for name in ARTICULATED},
}
ARENA_FILES = {name: f"scenes/libero_{name}_base_style.xml" for name in ARENAS}

# The wall and floor pictures that the five arenas' default styles ask for.
STYLE_TEXTURES = {
    "floor tiles": "textures/light-gray-floor-tile.png",
    "ceramic tiles": "textures/gray_ceramic_tile.png",
    "planks": "textures/seamless_wood_planks_floor.png",
    "plaster": "textures/light-gray-plaster.png",
    "linen": "textures/yellow_linen_wall_texture.png",
}
WOODEN_TABLE_TEXTURE = "textures/martin_novak_wood_table.png"


def missing_files(directory: Path) -> list[str]:
    """The files that the 40 tasks open by name and that `directory` lacks."""
    required = (
        *OBJECT_FILES.values(),
        *ARENA_FILES.values(),
        *STYLE_TEXTURES.values(),
        WOODEN_TABLE_TEXTURE,
    )
    return [name for name in required if not (directory / name).is_file()]
