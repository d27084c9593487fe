"""Finding assets, generating them, and what the generated files look like inside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semanticvla_jax.errors import InputError
from semanticvla_jax.libero.assets import generate, layout, meshes, resolve
from semanticvla_jax.libero.assets.boxes import Box, parse_boxes

LENGTHS = st.floats(0.001, 1.0)


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("assets")
    generate.write_assets(directory)
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes()
            for path in directory.rglob("*") if path.is_file()}  # fmt: skip


def volume(mesh: meshes.Mesh) -> float:
    """Volume inside a closed mesh; negative if its triangles face inwards."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    return np.einsum("fi,fi->", a, np.cross(b, c)) / 6


# Generating


def test_generator_writes_the_same_small_set_of_files_every_time(generated, tmp_path):
    generate.write_assets(tmp_path)
    files = contents(tmp_path)
    assert files == contents(generated)
    assert layout.missing_files(tmp_path) == []
    assert sum(map(len, files.values())) < 600_000
    assert resolve.content_digest(tmp_path) == resolve.content_digest(generated)


def test_content_digest_sees_a_changed_byte_and_ignores_hidden_files(tmp_path):
    (tmp_path / "a.xml").write_text("<a/>")
    first = resolve.content_digest(tmp_path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "state").write_text("whatever")
    assert resolve.content_digest(tmp_path) == first
    (tmp_path / "a.xml").write_text("<b/>")
    assert resolve.content_digest(tmp_path) != first


def test_processes_that_start_together_agree_on_one_cache_folder(tmp_path):
    code = (
        "from semanticvla_jax.libero.assets import resolve_assets; a = resolve_assets();"
        "print(a.kind, a.digest, a.path)"
    )
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path),
        resolve.ENVIRONMENT_VARIABLE: "generated",
    }
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    answers = {process.communicate(timeout=120)[0].decode() for process in running}
    assert len(answers) == 1
    assert answers.pop().startswith("generated ")
    cache = tmp_path / "semanticvla_jax" / "libero_assets"
    assert [path.name for path in cache.iterdir()] == [generate.version_digest()]


def test_a_damaged_cache_folder_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assets = resolve.resolve_assets("generated")
    (assets.path / layout.ARENA_FILES["floor"]).unlink()
    assert resolve.resolve_assets("generated") == assets
    assert layout.missing_files(assets.path) == []
    assert len(list(assets.path.parent.iterdir())) == 1


# Finding


def test_a_named_directory_is_used_and_checked(generated, tmp_path, monkeypatch):
    assert resolve.resolve_assets(generated).kind == "directory"
    monkeypatch.setenv(resolve.ENVIRONMENT_VARIABLE, str(generated))
    assert resolve.resolve_assets().path == generated
    with pytest.raises(InputError, match="no such directory"):
        resolve.resolve_assets(tmp_path / "nowhere")
    with pytest.raises(InputError, match="files missing.*Fix: correct the path"):
        resolve.resolve_assets(tmp_path)


def test_the_original_download_comes_before_the_generator(generated, tmp_path, monkeypatch):
    monkeypatch.delenv(resolve.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(resolve, "ORIGINAL_FOLDER", generated)
    resolve._original_assets.cache_clear()
    assert resolve.resolve_assets().kind == "original"
    monkeypatch.setattr(resolve, "ORIGINAL_FOLDER", tmp_path / "nothing here")
    monkeypatch.setattr(resolve, "_reachable", lambda url: False)
    resolve._original_assets.cache_clear()
    assert resolve.resolve_assets().kind == "generated"
    resolve._original_assets.cache_clear()


def test_a_silent_server_does_not_keep_us_waiting(monkeypatch):
    monkeypatch.setattr(resolve, "REACHABLE_WITHIN_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        assert not resolve._reachable(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - began < 3


# Shapes


def test_a_box_table_reads_as_centre_orientation_and_half_extents():
    (box,) = parse_boxes("\n  .1 0 -.2 | 1 0 0 1 | .01 .02 .03\n")
    assert box == Box((0.1, 0, -0.2), (1, 0, 0, 1), (0.01, 0.02, 0.03))
    np.testing.assert_allclose(box.rotation @ [1, 0, 0], [0, 1, 0], atol=1e-12)


@given(LENGTHS, LENGTHS, LENGTHS)
@settings(max_examples=25, deadline=None)
def test_a_box_faces_outward_and_has_its_volume(a, b, c):
    mesh = meshes.box((1, 2, 3), (a, b, c))
    assert len(mesh.faces) == 12
    np.testing.assert_allclose(volume(mesh), 8 * a * b * c, rtol=1e-6)


@given(LENGTHS, LENGTHS, st.integers(3, 24), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_turned_cylinder_is_closed_and_has_the_volume_of_its_prism(radius, height, n, faceted):
    profile = [(0, 0), (radius, 0), (radius, height), (0, height)]
    mesh = meshes.lathe(profile, segments=n, faceted=faceted)
    assert len(mesh.faces) == 4 * n
    base = n / 2 * np.sin(2 * np.pi / n) * radius**2
    np.testing.assert_allclose(volume(mesh), base * height, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, rtol=1e-6)


def test_a_tube_faces_outward_around_its_path():
    mesh = meshes.tube([(0, 0, 0), (0, 0, 1), (0, 1, 2)], 0.1)
    faces = mesh.vertices[mesh.faces]
    facing = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    assert (np.einsum("fi,fi->f", facing, mesh.normals[mesh.faces[:, 0]]) > 0).all()


# MJCF


def models(directory: Path):
    return {path.relative_to(directory).as_posix(): ElementTree.parse(path).getroot()
            for path in sorted(directory.rglob("*.xml"))}  # fmt: skip


def test_everything_visible_touches_nothing(generated):
    # The floor is both seen and stood on; so is the upper of the stove's two plates.
    both = {"floor", "base_vis"}
    for name, root in models(generated).items():
        for geom in root.iter("geom"):
            assert geom.get("group") in ("0", "1"), (name, geom.attrib)
            if geom.get("group") == "1" and geom.get("name") not in both:
                assert geom.get("contype") == geom.get("conaffinity") == "0", (name, geom.attrib)
            if geom.get("group") == "0":
                assert geom.get("type") in ("box", "capsule"), (name, geom.attrib)
                assert geom.get("mesh") is geom.get("texture") is None


def test_objects_have_the_bodies_and_sites_that_robosuite_reads(generated):
    for file in layout.OBJECT_FILES.values():
        (outer,) = ElementTree.parse(generated / file).getroot().findall("worldbody/body")
        assert [body.get("name") for body in outer.findall("body")] == ["object"]
        sites = {site.get("name") for site in outer.findall("site")}
        assert sites == {"bottom_site", "top_site", "horizontal_radius_site"}


def test_every_named_mesh_and_picture_is_there(generated):
    for name, root in models(generated).items():
        for element in root.iter():
            if element.get("file"):
                assert (generated / Path(name).parent / element.get("file")).is_file()


def test_objects_are_cheap_to_draw(generated):
    for file in layout.OBJECT_FILES.values():
        root = ElementTree.parse(generated / file).getroot()
        paths = [generated / Path(file).parent / mesh.get("file") for mesh in root.iter("mesh")]
        triangles = sum(np.frombuffer(path.read_bytes()[:16], "<i4")[3] for path in paths)
        assert 0 < triangles < 500, file
