"""Whatever texts the server's answers hold, none becomes markup, a script or an address in any view of the page."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from sdxl_gateway.api.endpoints.page import FIRST, files
from tests.kit.api import served_api
from tests.kit.browser import Tab
from tests.kit.hostile import HOSTILE, TRACES, UNTOUCHED
from tests.kit.page_alone import SAID, Alone, alone, choose, parts, press, unfold
from tests.kit.schema_answers import SchemaAnswers

VIEWS = re.findall(r'<a href="#(\w+)"', files()[FIRST].data.decode())
POLICY = re.compile(r"Content Security Policy|Trusted|directive")


def hostile_document() -> dict[str, Any]:
    """The server's, whose own words are hostile too."""
    texts = itertools.cycle(HOSTILE)
    document: dict[str, Any] = _poisoned(served_api().app.state.document, texts)
    document["paths"][f"/v1/{HOSTILE[0]}"] = {
        "get": {"summary": HOSTILE[1], "operationId": HOSTILE[2], "responses": {}}
    }
    properties = document["components"]["schemas"]["Model"]["properties"]
    properties |= {text: {"type": text, "description": text, "enum": [text]} for text in HOSTILE}
    return document


def _poisoned(value: Any, texts: Iterator[str]) -> Any:
    if isinstance(value, dict):
        words = ("summary", "description")
        return {
            key: f"{one} {next(texts)}" if key in words and isinstance(one, str) else _poisoned(one, texts)
            for key, one in value.items()
        }
    return [_poisoned(one, texts) for one in value] if isinstance(value, list) else value


def stand_in(refusal: tuple[int, str] | None = None) -> Alone:
    """Each text is another of the list, so that each place meets several."""
    texts = itertools.cycle(HOSTILE)
    return Alone(SchemaAnswers(hostile_document(), lambda _: next(texts), SAID, items=len(HOSTILE)), refusal)


def assert_untouched(tab: Tab) -> None:
    assert tab.page.evaluate(TRACES) == UNTOUCHED
    assert [said for said in tab.trouble if POLICY.search(said)] == []


@pytest.mark.full
@pytest.mark.parametrize("view", VIEWS)
def test_answers_stay_text(browser: Any, view: str) -> None:
    with alone(browser, stand_in(), view, viewport={"width": 390, "height": 844}) as tab:
        unfold(tab)
        choose(tab)
        for part in parts(tab):
            assert_untouched(tab)
            assert tab.page.evaluate("document.documentElement.scrollWidth") == 390, part
        assert HOSTILE[0] in tab.page.evaluate("document.querySelector('main').textContent")
        press(tab)
        unfold(tab)
        assert_untouched(tab)


@pytest.mark.full
@pytest.mark.parametrize("text", HOSTILE)
def test_refusals_stay_text(browser: Any, text: str) -> None:
    for view, status in itertools.product(VIEWS, (400, 401)):
        with alone(browser, stand_in((status, text)), view) as tab:
            unfold(tab)
            assert_untouched(tab)
