"""The page: complete, self-contained, safe, and small."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from semanticvla_jax.evaluation.report.charts import histograms
from semanticvla_jax.evaluation.report.episodes import take_turns
from semanticvla_jax.evaluation.report.media import Budget, stills
from semanticvla_jax.evaluation.report.traces import viewer_data
from semanticvla_jax.report import main
from tests.report.writer import (
    IDENTITY,
    error,
    result,
    trace_arrays,
    write_film,
    write_results,
    write_trace,
)

VOID = {"meta", "link", "img", "input", "br"}
DRAWN = {"line", "path", "rect", "polyline", "circle"}


class Outline(HTMLParser):
    """Elements and text of a page; fails on elements that are not closed in order."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in DRAWN, f"<{tag}/> is closed in XML only"
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def make(tmp_path, *runs, flags=()) -> Outline:
    out = tmp_path / "report.html"
    main([*map(str, runs), "--out", str(out), *flags])
    return Outline(out.read_text())


@pytest.fixture
def filmed(tmp_path):
    """One failure and one success, both filmed and traced."""
    rows = [result(0, False), result(1, True, video="videos/named.mp4")]
    results = write_results(tmp_path / "filmed", rows)
    write_film(results / "videos" / "libero_object_0_official_0.mp4")
    write_film(results / "videos" / "named.mp4")
    for index in range(2):
        write_trace(results / "traces" / f"libero_object_0_official_{index}.npz")
    return results


def test_page_text_and_json_say_the_same(tmp_path):
    first = write_results(tmp_path / "first", [result(i, i < 1) for i in range(4)] + [error(9)])
    second = write_results(tmp_path / "second", [result(i, True) for i in range(4)])
    page = make(tmp_path, first, second).text
    printed = (tmp_path / "report.txt").read_text()
    found = json.loads((tmp_path / "report.json").read_text())
    assert [run["successes"] for run in found["runs"]] == [1, 4]
    assert "1 of 4 episodes" in page and "4 of 4 episodes" in page and "1/4   0.25" in printed
    (comparison,) = found["comparisons"]
    assert comparison["overall"]["p"] == 0.25  # three differing episodes: 2 / 2^3
    assert "p = 0.250 (McNemar exact test)" in page and "p = 0.25" in printed
    assert "+75.0 points" in page and "TimeoutError: silent for 600 s" in page
    assert found["runs"][0]["unfinished"] == 1 and "1 episode without a result" in page


def test_page_needs_nothing_else(tmp_path, filmed):
    page = make(tmp_path, filmed)
    urls = [value for _, attributes in page.elements for name, value in attributes.items()
            if name in ("src", "href", "poster")]  # fmt: skip
    assert urls and all(url.startswith(("data:", "#")) for url in urls)
    assert "http" not in (tmp_path / "report.html").read_text()
    assert [video["src"][:22] for video in page.all("video")] == ["data:video/mp4;base64,"] * 2


def test_names_are_text(tmp_path):
    nasty = "<script>alert(1)</script>&\"'{{ 7 * 7 }}"
    rows = [
        result(0, False, task_name=nasty, suite=nasty, policy=nasty),
        error(1, error=nasty, traceback=nasty, error_type=nasty),
    ]
    results = write_results(tmp_path / "<script>b", rows, {**IDENTITY, "policy": nasty})
    write_trace(results / "traces" / "one.npz", words=np.array([nasty, "</script>", "", ""]))
    rows[0]["trace"] = "traces/one.npz"
    write_results(results, rows, {**IDENTITY, "policy": nasty})
    page = make(tmp_path, results, flags=["--title", nasty])
    assert len(page.all("script")) == 2  # the viewer's data, and the page's own
    assert page.text.count("alert(1)") > 5 and "{{ 7 * 7 }}" in page.text
    assert "<script>alert" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("rows", [[], [error(0), error(0, attempt=2)]])
def test_without_results(tmp_path, rows):
    page = make(tmp_path, write_results(tmp_path / "run", rows))
    assert "No episode has a result" in page.text


def test_directories_that_are_still_written_to(tmp_path):
    results = write_results(tmp_path / "run", [result(0, True)])
    with (results / "rows.jsonl").open("a") as file:
        file.write('{"policy": "che')
    before = (results / "rows.jsonl").read_bytes()
    assert "1 of 1 episodes" in make(tmp_path, results).text
    assert (results / "rows.jsonl").read_bytes() == before


def test_damaged_and_missing_files(tmp_path, filmed):
    (filmed / "videos" / "libero_object_0_official_0.mp4").write_bytes(b"no film")
    (filmed / "videos" / "named.mp4").unlink()
    (filmed / "traces" / "libero_object_0_official_0.npz").write_bytes(b"no trace")
    page = make(tmp_path, filmed)
    assert not page.all("video")
    assert {"href": "filmed/videos/libero_object_0_official_0.mp4"} in page.all("a")
    assert "1 further traces" in page.text


def test_films_beyond_the_budget_are_linked(tmp_path, filmed):
    (filmed.parent / "pages").mkdir()
    page = make(filmed.parent / "pages", filmed, flags=["--max_megabytes", "0"])
    assert not page.all("video") and not page.all("img")
    links = {anchor["href"] for anchor in page.all("a") if ".mp4" in anchor["href"]}
    assert links == {
        "../filmed/videos/libero_object_0_official_0.mp4",
        "../filmed/videos/named.mp4",
    }
    assert "2 further traces" in page.text


def test_thousands_of_episodes_stay_small(tmp_path):
    rows = [
        result(i, i % 3 > 0, task, latency_ms=[float(ms) for ms in range(1, 20)])
        for task in range(40)
        for i in range(100)
    ]
    runs = [write_results(tmp_path / name, rows) for name in "ab"]
    make(tmp_path, *runs)
    assert (tmp_path / "report.html").stat().st_size < 400_000


def test_what_the_viewer_gets(tmp_path):
    data = viewer_data(trace_arrays(queries=3))
    assert data["grid"] == 4 and data["query_steps"] == [0, 2, 4]
    assert data["words"] == [" stir", " so", "up"]  # without padding
    words, kept, tokens = data["panels"]
    assert kept["kept"][2][1] == [0, 5] and words["cue_words"][0][0] == [1, 2]
    assert tokens["attention"]["count"] == 2 and words["similarity"]["count"] == 3
    # Word 2 at query 1, camera 0: patch 1 alone, stretched to 255.
    import base64

    maps = np.frombuffer(base64.b64decode(words["similarity"]["bytes"]), np.uint8)
    assert maps.reshape(3, 2, 3, 16)[1, 0, 2].tolist() == [0, 255] + [0] * 14
    assert words["similarity"]["high"][(1 * 2 + 0) * 3 + 2] == 3
    assert tokens["mean"]["high"][0] == 0.5


def test_traces_of_other_policies():
    arrays = trace_arrays()
    expert = {name: arrays[name] for name in ("actions", "query_steps", "success", "instruction")}
    assert viewer_data(expert) == {"query_steps": [0, 2, 4]}
    plain = {
        name: value for name, value in arrays.items() if not name.startswith(("siglip", "dino"))
    }
    assert viewer_data(plain)["panels"] == []
    odd = viewer_data({**plain, "dino_query_attention": np.zeros((3, 2, 2, 15), np.float16)})
    assert odd["panels"] == []  # 15 patches make no square


def test_stills_run_from_first_to_last(tmp_path):
    import io

    from PIL import Image

    found = stills(write_film(tmp_path / "film.mp4"))
    strip = np.asarray(Image.open(io.BytesIO(found.strip)))
    poster = np.asarray(Image.open(io.BytesIO(found.poster)))
    assert strip.shape == (64, 6 * 32, 3) and poster.shape == (32, 64, 3)
    assert strip[:, :16].mean() < 20 and strip[:, -16:].mean() > 235 < poster.mean()


def test_histograms():
    found = histograms([[1.0, 1.0, 100.0], []])
    full, empty = found["rows"]
    assert [bar["height"] for bar in full["bars"]] == [100, 50] and not empty["bars"]
    assert full["bars"][0]["at"] < full["marks"][0]["at"] < 10  # p50 is 1
    assert [tick["value"] for tick in found["ticks"]] == [1, 10, 100]


def test_all_tasks_have_their_turn():
    rows = [result(0, False), result(1, False), result(2, False), result(5, False, task=1)]
    order = [(row["task"], row["placement"]) for row in take_turns(rows)]
    assert order[:3] == [(0, "official:0"), (1, "official:5"), (0, "official:1")]


def test_budget_counts_what_base64_takes():
    budget = Budget(4e-6)
    assert budget.embed(b"123", "text/plain") == "data:text/plain;base64,MTIz"
    assert budget.left == 0 and budget.embed(b"1", "text/plain") is None


@pytest.mark.parametrize("out", ["report.txt", "."])
def test_wrong_out_is_told(tmp_path, capsys, out):
    results = write_results(tmp_path / "run", [])
    with pytest.raises(SystemExit) as stop:
        main([str(results), "--out", out])
    assert stop.value.code == 2 and "ending in .html" in capsys.readouterr().err
