"""The page in a real browser."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from semanticvla_jax.report import main
from tests.report.browser import Browser, find_chromium
from tests.report.writer import error, result, write_film, write_results, write_trace

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    first = write_results(folder / "first", [result(i, i > 0) for i in range(3)] + [error(3)])
    second = write_results(folder / "second", [result(i, False) for i in range(3)])
    for run in (first, second):
        write_film(run / "videos" / "libero_object_0_official_0.mp4")
        for index in range(2):
            write_trace(run / "traces" / f"libero_object_0_official_{index}.npz")
    main([str(first), str(second), "--out", str(folder / "report.html")])
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    with Browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as browser:
        browser.resize(1280, 900)
        browser.open(page)
        yield browser
        assert browser.complaints == []
        assert browser.requested == [page.as_uri()]


# Of the third-person camera's panels: 0 image, 1 words, 2 kept patches, 3 aggregation tokens.
READ = """(kind, x, y, side) => Array.from(document.querySelectorAll('.viewer canvas')[kind]
    .getContext('2d').getImageData(x, y, side, side).data)"""
SUMS = f"[0, 1, 2, 3].map((kind) => ({READ})(kind, 0, 0, 448).reduce((sum, value) => sum + value))"


def show_query(browser, number: int) -> None:
    """Moves the first viewer's slider; returns when its figures are drawn."""
    browser.wait_for("document.querySelectorAll('.viewer canvas').length === 8")
    browser.run(
        "document.querySelectorAll('.viewer .panel p').forEach((note) => note.textContent = '');"
        "(() => { const slider = document.querySelector('.viewer input');"
        f"slider.value = {number}; slider.dispatchEvent(new Event('input')); }})()"
    )
    browser.wait_for(
        "[...document.querySelectorAll('.viewer .panel p')].every((note) => note.textContent)"
    )


def test_figures_follow_the_slider(browser):
    show_query(browser, 0)
    before = browser.run(SUMS)
    show_query(browser, 2)
    assert all(np.array(browser.run(SUMS)) != before)
    assert browser.run("document.querySelector('output').textContent") == "query 3 of 3, step 4"
    assert browser.run("document.querySelector('.cursor').getAttribute('x1')") == "4"
    predicted = browser.run("document.querySelector('.predicted').getAttribute('points')")
    assert predicted.startswith("4,") and len(predicted.split()) == 4


def test_kept_patches_are_bright_and_outlined(browser):
    show_query(browser, 1)

    def pixels(kind: int, x: int, y: int) -> np.ndarray:
        return np.array(browser.run(f"({READ})({kind}, {x}, {y}, 8)")).reshape(8, 8, 4)

    side, middle = 448 // 4, 448 // 8
    inside = side + middle, side + middle  # patch 5, kept
    np.testing.assert_array_equal(pixels(2, *inside), pixels(0, *inside))
    outside = side + middle, middle  # patch 1, not
    assert pixels(2, *outside)[..., :3].mean() < 0.6 * pixels(0, *outside)[..., :3].mean()
    edge = side + middle, side
    assert pixels(2, *edge)[2, 0].tolist() == [255, 210, 74, 255]


def test_words_and_tokens_can_be_chosen(browser):
    show_query(browser, 0)
    notes = "[...document.querySelectorAll('.panel p')].slice(0, 4).map((note) => note.textContent)"
    browser.wait_for("document.querySelectorAll('.words button.cue').length === 2")
    words = "[...document.querySelector('.words').querySelectorAll('button')]"
    shown = browser.run(f"{words}.map((button) => button.textContent)")
    assert shown == ["chosen words", "stir", "so", "up"]
    assert browser.run(notes)[1:] == ["so, up: 0 to 1", "2 of 16 patches go on", "0 to 0.5"]
    browser.run(f"{words}[2].click()")
    browser.wait_for(f"{notes}[1] === 'similarity, 0 to 2'")
    browser.run(
        "(() => { const tokens = document.querySelector('.words select'); tokens.value = 1;"
        "tokens.dispatchEvent(new Event('change')); })()"
    )
    browser.wait_for(f"{notes}[3] === '0 to 0'")
    browser.run(f"{words}[0].click()")


def test_play_runs_to_the_end_and_stops(browser):
    browser.wait_for("document.querySelector('.viewer').viewer")
    browser.run("document.querySelector('[data-play]').click()")
    assert browser.run("document.querySelector('[data-play]').ariaLabel") == "Pause"
    browser.wait_for("document.querySelector('[data-play]').ariaLabel === 'Play'")
    assert browser.run("document.querySelector('.viewer input').value") == "2"


def test_one_episode_is_shown_at_a_time(browser):
    shown = "[...document.querySelectorAll('.viewer')].map((viewer) => !viewer.hidden)"
    assert browser.run(shown) == [True, False, False, False]
    choose = (
        "(() => {{ const s = document.querySelector('#episode'); s.selectedIndex = {};"
        "s.dispatchEvent(new Event('change')); }})()"
    )
    browser.run(choose.format(2))
    assert browser.run(shown) == [False, False, True, False]
    browser.wait_for("document.querySelectorAll('.viewer')[2].viewer")
    browser.run(choose.format(0))


def test_films_play(browser):
    browser.run(
        "(async () => { const film = document.querySelector('video'); film.muted = true;"
        "film.playbackRate = 0.5; await film.play(); })()"
    )
    browser.wait_for("document.querySelector('video').currentTime > 0.1")
    browser.wait_for("document.querySelector('video').ended")
    assert browser.run("document.querySelector('video').videoWidth") == 64


def test_runs_can_be_filtered(browser):
    hidden = "[...document.querySelectorAll('#failures .card')].map((card) => card.hidden)"
    assert browser.run(hidden) == [False, False]
    browser.run("document.querySelector('#failures [data-show=\"1\"]').click()")
    assert browser.run(hidden) == [True, False]
    browser.run("document.querySelector('#failures [data-show=all]').click()")
    assert browser.run(hidden) == [False, False]


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_pages_fit_their_window(browser, tmp_path, width, dark):
    browser.resize(width, 900, dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    picture = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("L"))
    assert (picture.mean() < 80) == dark and picture.std() > 10
    browser.resize(1280, 900)
