"""axe-core finds no barrier in any view of the page: full, refused or without a key, narrow or wide, light or dark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.api.endpoints.page import FIRST, files
from tests.kit.api import served_api
from tests.kit.browser import Tab
from tests.kit.page_alone import SAID, Alone, alone, parts, unfold
from tests.kit.schema_answers import SchemaAnswers

VIEWS = re.findall(r'<a href="#(\w+)"', files()[FIRST].data.decode())
REFUSALS = {
    "full": None,
    "refused": (429, "Too many at once: come back in 3 seconds."),
    "locked": (401, "A key is wanted."),
}
WIDTHS = (390, 1280)


@pytest.fixture(scope="module")
def axe(installed: Path) -> str:
    return (installed / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def complaints(tab: Tab, axe: str) -> list[str]:
    """Of all rules for which axe-core is sure, each with the first element that breaks it."""
    tab.page.evaluate(axe)
    found = tab.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [f"{one['id']} ({len(one['nodes'])}): {one['nodes'][0]['html'][:160]}" for one in found]


def stand_in(state: str) -> Alone:
    answers = SchemaAnswers(served_api().app.state.document, lambda name: f"some {name}", SAID)
    return Alone(answers, REFUSALS[state])


def test_the_first_view_has_no_barrier(browser: Any, axe: str) -> None:
    with alone(browser, stand_in("full"), "paint") as tab:
        unfold(tab)
        assert complaints(tab, axe) == []
        tab.page.evaluate("document.querySelector('label[for=base]').remove()")
        assert "select-name" in {one.split()[0] for one in complaints(tab, axe)}


@pytest.mark.full
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("state", REFUSALS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_has_a_barrier(browser: Any, axe: str, view: str, state: str, scheme: str) -> None:
    for width in WIDTHS:
        screen = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
        with alone(browser, stand_in(state), view, **screen) as tab:
            if view == "paint" and state == "refused":
                tab.paint("a red circle")
                tab.page.locator("#error:not([hidden])").wait_for()
            for part in parts(tab):
                assert complaints(tab, axe) == [], (part, width)
                assert tab.page.evaluate("document.documentElement.scrollWidth") <= width, part
