"""The page of ``archsearch serve`` in a real browser, at the width of a phone and of a desk: clicked, and redrawn."""

import threading

import pytest
from browser import CHROMIUM, Browser
from test_serve import make

from archsearch import resume
from archsearch.serving import PageServer

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: 'make browser'")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    make(folder)
    server = PageServer([folder], 0)
    threading.Thread(target=server.serve, daemon=True).start()
    yield server.address, folder
    server.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def texts(browser, selector):
    return browser.value(f"[...document.querySelectorAll({selector!r})].map((e) => e.textContent)")


def press(browser, selector, text):
    number = next(i for i, each in enumerate(texts(browser, selector)) if each.startswith(text))
    browser.value(f"[...document.querySelectorAll({selector!r})][{number}].id = 'pressed'")
    browser.click("#pressed")
    browser.value("(document.getElementById('pressed') || {}).id = ''")


@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_is_read_clicked_and_redrawn(address, browser, width):
    address, folder = address
    browser.open(address, width)
    browser.wait("document.querySelectorAll('#runs tbody tr').length === 2")
    press(browser, "#runs button", "table")
    browser.wait("document.getElementById('run-title').textContent.startsWith('table')")
    browser.wait("document.querySelectorAll('#trials tbody tr').length === 20")
    browser.wait("document.getElementById('drawing').naturalWidth > 100")
    head = texts(browser, "#trials th")
    assert head[:2] == ["id", "score \u25bc"]

    column = "[...document.querySelectorAll('#trials tbody tr')].map((e) => Number(e.children[{}].textContent))"
    scores = browser.value(column.format(1))
    assert scores == sorted(scores, reverse=True)
    press(browser, "#trials th button", "score")
    browser.wait("document.querySelectorAll('#trials th')[1].textContent.endsWith('\u25b2')")
    scores = browser.value(column.format(1))
    assert scores == sorted(scores)
    press(browser, "#trials th button", "id")
    browser.wait("document.querySelectorAll('#trials th')[0].textContent.endsWith('\u25b2')")
    assert browser.value(column.format(0)) == list(range(20))
    browser.click("#next")
    browser.wait("document.getElementById('place').textContent.startsWith('21 to 40')")

    press(browser, "#trials tbody button", "21")
    browser.wait("document.getElementById('drawing-title').textContent === 'Architecture of trial 21'")
    browser.wait("document.getElementById('drawing').naturalWidth > 100")

    before = browser.value("document.querySelector('#run-chart path.line').getAttribute('d')")
    count = int(texts(browser, "#runs tbody tr:nth-child(2) td")[4])
    resume(folder / "table", trials=count + 15)  # redrawn by itself
    browser.wait(f"document.querySelectorAll('#runs tbody tr:nth-child(2) td')[4].textContent === '{count + 15}'")
    browser.wait(f"document.querySelector('#run-chart path.line').getAttribute('d') !== {before!r}")

    for row in (1, 2):
        browser.click(f"#runs tbody tr:nth-child({row}) input")
    browser.wait("!document.getElementById('comparison').hidden")
    assert texts(browser, "#comparison-legend .key") == ["lab/failing", "table"]
    assert texts(browser, "#comparable")[0].startswith("Their scores are no measure of each other")
    press(browser, "#runs button", "lab/failing")
    browser.wait("document.querySelectorAll('#faults tbody tr').length > 0")
    assert "<script>alert(1)</script>" in texts(browser, "#faults tbody td")[2]
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    outside = (
        "[...document.querySelectorAll('body *')].filter((e) => !e.closest('.wide') && e.getClientRects().length"
        " && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert browser.value(outside) == []
    assert browser.errors == []
