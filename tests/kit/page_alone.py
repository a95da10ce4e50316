"""The page without a server: a browser gets its files, and a test's answers to all its requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from sdxl_gateway.api.endpoints.page import FIRST, HEADERS, files
from tests.kit.browser import Tab, opened
from tests.kit.pictures import PNG
from tests.kit.schema_answers import SchemaAnswers, frames

ORIGIN = "http://page.test"
MOST = 60
SHOWN = "main > div:not([hidden])"
BUTTONS = f"{SHOWN} button:enabled"
SAID = {
    "has_more": False,
    "role": "admin",
    "created": 1_700_000_000,
    "created_at": 1_700_000_000,
    "loras": ["outline"],
}


@dataclass
class Alone:
    """Stands in for the server; with `refusal`, a status and a text, it refuses every request that can be refused."""

    answers: SchemaAnswers
    refusal: tuple[int, str] | None = None

    def handle(self, route: Any) -> None:
        verb, path = route.request.method, unquote(urlsplit(route.request.url).path)
        file = files().get(FIRST if path == "/" else path.removeprefix("/page/"))
        if file is not None and verb == "GET":
            route.fulfill(body=file.data, headers=HEADERS | {"content-type": file.media_type})
        elif path == "/openapi.json":
            route.fulfill(json=self.answers.document)
        elif self.refusal is not None:
            route.fulfill(status=self.refusal[0], json=_error(*self.refusal))
        else:
            self._answer(route, verb, path)

    def _answer(self, route: Any, verb: str, path: str) -> None:
        asked = route.request.post_data_buffer or b""
        if verb == "POST" and b'"stream":true' in asked.replace(b" ", b""):
            kind = "image_generation" if "generations" in path else "image_edit"
            route.fulfill(body=frames(kind, self.answers.text), content_type="text/event-stream")
            return
        answer = self.answers.answer(verb, path)
        if answer is None:
            route.fulfill(body=PNG, content_type="image/png")
        else:
            route.fulfill(body=json.dumps(answer), content_type="application/json")


def _error(status: int, text: str) -> dict[str, Any]:
    return {"error": {"message": text, "type": "invalid_request_error", "param": None, "code": text, "status": status}}


@contextmanager
def alone(browser: Any, stand_in: Alone, view: str, **options: Any) -> Iterator[Tab]:
    """The page, opened at this view; no request leaves the browser."""
    with opened(browser, "about:blank", **options) as tab:
        tab.page.context.route("**/*", stand_in.handle)
        tab.page.goto(f"{ORIGIN}/#{view}")
        tab.page.wait_for_load_state("networkidle")
        yield tab


def unfold(tab: Tab) -> None:
    """Open everything that can be unfolded in the current view, and what appears in it."""
    for _ in range(3):
        tab.page.evaluate(
            f"for (const one of [...document.querySelectorAll('{SHOWN} details')].slice(0, 40)) one.open = true"
        )
        tab.page.wait_for_load_state("networkidle")


def parts(tab: Tab) -> Iterator[str]:
    """Each tab's part of the current view, unfolded; the whole view if it has no tabs."""
    unfold(tab)
    tabs = tab.page.locator(f"{SHOWN} .tabs button").all()
    for one in tabs:
        if one.is_visible() and one.is_enabled():
            one.evaluate("(one) => one.click()")
            tab.page.wait_for_load_state("networkidle")
            unfold(tab)
            yield str(one.text_content())
    if not tabs:
        yield "the whole"


def choose(tab: Tab) -> None:
    """Choose the last option of each list in the current view."""
    tab.page.evaluate(f"""() => {{
      for (const one of document.querySelectorAll("{SHOWN} select")) {{
        one.selectedIndex = one.length - 1;
        one.dispatchEvent(new Event("change", {{ bubbles: true }}));
      }}
    }}""")
    tab.page.wait_for_load_state("networkidle")


def press(tab: Tab) -> None:
    """Press every button of the current view once, ignoring the results."""
    for button in tab.page.locator(BUTTONS).element_handles()[:MOST]:
        button.evaluate("(one) => one.isConnected && one.click()")
    tab.page.wait_for_load_state("networkidle")
