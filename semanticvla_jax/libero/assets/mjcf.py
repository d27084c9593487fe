"""MJCF files under construction, with the meshes and pictures that belong to them."""

from __future__ import annotations

import io
import posixpath
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.etree.ElementTree import Element

from PIL import Image

from semanticvla_jax.libero.assets.boxes import Box
from semanticvla_jax.libero.assets.meshes import Mesh

# How everything that can be grasped touches the world, and its density in kg/m^3.
STIFF_CONTACT = {
    "solimp": "0.998 0.998 0.001",
    "solref": "0.001 1",
    "density": "100",
    "friction": "0.95 0.3 0.1",
}


def attribute_text(value) -> str:
    """Numbers and sequences of numbers as MJCF attribute text, exact to 1e-7."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        text = f"{value:.7f}".rstrip("0").rstrip(".")
        return "0" if text == "-0" else text
    return " ".join(attribute_text(float(number)) for number in value)


def add(parent: Element, tag: str, **attributes) -> Element:
    """Appends an element; a trailing underscore in a name (`class_`) is dropped."""
    texts = {name.rstrip("_"): attribute_text(value) for name, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, texts)


def add_collision_box(body: Element, box: Box, **contact) -> Element:
    """A box that touches: group 0, hidden from the cameras."""
    return add(
        body,
        "geom",
        type="box",
        pos=box.centre,
        quat=box.orientation,
        size=box.half_extents,
        group=0,
        **contact,
    )


def add_region(body: Element, name: str, box: Box) -> Element:
    """An invisible box site: where LIBERO's predicates look for objects."""
    placement = {"pos": box.centre, "quat": box.orientation, "size": box.half_extents}
    return add(body, "site", name=name, type="box", group=0, rgba="0 0 0 0", **placement)


class Model:
    """An MJCF file; `path` is where it lies in the assets directory, as are its `files`."""

    def __init__(self, path: str):
        self.path = path
        name = posixpath.basename(path).removesuffix(".xml")
        self.root = Element("mujoco", model=name)
        self.assets = add(self.root, "asset")
        self.worldbody = add(self.root, "worldbody")
        # Files of articulated objects, which share one folder, go into a folder of their own.
        alone = posixpath.basename(posixpath.dirname(path)) == name
        self.folder = "" if alone else f"{name}/"
        self.files: dict[str, bytes] = {}

    def material(self, name: str, *, image: Image.Image | None = None, rgba=None, **look) -> str:
        """A surface with a flat colour or a picture; returns its name."""
        look = {"specular": 0.2, "shininess": 0.2, **look}
        if image is not None:
            look["texture"] = f"tex-{name}"
            file = f"{self.folder}{name}.png"
            self.files[file] = png_bytes(image)
            add(self.assets, "texture", name=look["texture"], type="2d", file=file)
        if rgba is not None:
            look["rgba"] = rgba if len(rgba) == 4 else (*rgba, 1)
        add(self.assets, "material", name=name, **look)
        return name

    def visual(self, body: Element, name: str, mesh: Mesh, material: str, **placement) -> Element:
        """Draws `mesh` on `body`: group 1, touching nothing and weighing nothing."""
        file = f"{self.folder}{name}.msh"
        textured = self.assets.find(f"material[@name='{material}'][@texture]") is not None
        self.files[file] = mesh.to_msh(textured)
        add(self.assets, "mesh", name=name, file=file, inertia="shell")
        return add(
            body,
            "geom",
            type="mesh",
            mesh=name,
            material=material,
            group=1,
            contype=0,
            conaffinity=0,
            mass=0,
            **placement,
        )

    def write(self, directory: Path) -> None:
        ElementTree.indent(self.root)
        folder = posixpath.dirname(self.path)
        files = {posixpath.join(folder, name): content for name, content in self.files.items()}
        files[self.path] = ElementTree.tostring(self.root) + b"\n"
        for name, content in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(content)


class ObjectModel(Model):
    """An object as robosuite expects it: a body `object` and three sites that tell its size.

    `extents` are the height of its bottom and top and its radius, in metres, in its own frame,
    as the placement sampler uses them.
    """

    def __init__(self, path: str, extents: tuple[float, float, float]):
        super().__init__(path)
        outer = add(self.worldbody, "body")
        self.object = add(outer, "body", name="object")
        bottom, top, radius = extents
        for name, position in (
            ("bottom_site", (0, 0, bottom)),
            ("top_site", (0, 0, top)),
            ("horizontal_radius_site", (radius, radius, 0)),
        ):
            add(outer, "site", name=name, pos=position, size=0.005, rgba="0 0 0 0")


def png_bytes(image: Image.Image) -> bytes:
    """A small PNG: at most 32 colours."""
    buffer = io.BytesIO()
    image = image.convert("RGB").quantize(32, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
