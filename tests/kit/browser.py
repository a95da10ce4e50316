"""Debian's chromium, driven by Playwright: tabs of a server's page, and the errors in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Tab:
    """An open page; `trouble` has the errors of its console, `asked` the addresses it requested."""

    page: Any
    trouble: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    bytes: int = 0

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def paint(self, prompt: str) -> None:
        self.page.fill("#prompt", prompt)
        self.page.click("#paint")

    def painted(self, pictures: int = 1) -> None:
        """Wait until so many pictures are completely there."""
        self.page.locator("#pictures a[download]").nth(pictures - 1).wait_for()

    def _note(self, answer: Any) -> None:
        self.asked.append(answer.url)
        self.bytes += int(answer.headers.get("content-length", 0))


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; skips the test if it or its driver is not installed."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed")
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with driver.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, url: str, **options: Any) -> Iterator[Tab]:
    """A tab with its own storage."""
    context = browser.new_context(**options)
    context.set_default_timeout(120_000)
    tab = Tab(context.new_page())
    tab.page.on("response", tab._note)
    tab.page.on("pageerror", lambda error: tab.trouble.append(str(error)))
    tab.page.on("console", lambda said: tab.trouble.append(said.text) if said.type == "error" else None)
    tab.page.goto(url)
    yield tab
    context.close()
