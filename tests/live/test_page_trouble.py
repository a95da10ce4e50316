"""What goes wrong while somebody paints is told at its place in a real browser, and the page goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.kit.browser import Tab, opened
from tests.kit.servers import Server, server

pytestmark = pytest.mark.full
FAILED = "#pictures li:first-child .error"
ALERT = "#ask > .error[role=alert]"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Refuses a word; who has lost its engine waits long enough for it to be seen."""
    settings: dict[str, Any] = {
        "auth__api_keys": "alpha",
        "auth__admin_keys": "root",
        "safety__deny_words": "gore",
        "engine__restart_backoff_seconds": "8",
    }
    with server(tmp_path_factory.mktemp("trouble"), **settings) as one:
        yield one


@pytest.fixture
def tab(browser: Any, house: Server) -> Iterator[Tab]:
    with opened(browser, house.url) as one:
        given(one, "alpha")
        yield one


def given(tab: Tab, key: str) -> None:
    tab.page.fill("#key", key)
    tab.page.press("#key", "Enter")
    tab.page.locator("#ask-key").wait_for(state="hidden")


def paints(tab: Tab) -> None:
    """The next picture comes out, and nothing of what went wrong is said any more."""
    tab.page.fill("#more-steps", "2")
    tab.paint("a red circle")
    tab.painted()
    assert tab.page.locator("#ask .error:visible").count() == 0


def steps(tab: Tab, number: int) -> None:
    tab.page.click("#more summary")
    tab.page.fill("#more-steps", str(number))


def test_an_engine_that_is_killed_while_it_paints(browser: Any, tab: Tab, house: Server) -> None:
    with opened(browser, f"{house.url}/#operate") as operator:
        given(operator, "root")
        operator.trouble.clear()
        operator.page.locator(".engine[data-state=ready] svg.ledger").wait_for()
        steps(tab, 150)
        tab.paint("a red circle")
        tab.page.locator("#pictures progress[value]").wait_for()
        os.kill(house.engine_pid(), signal.SIGKILL)
        tab.page.locator(FAILED).wait_for()
        assert "engine" in tab.text(FAILED)
        assert tab.text(ALERT) == tab.text(FAILED)
        assert tab.text("#status") == "0 of 1 painted."
        assert tab.page.locator("#pictures progress").count() == 0
        operator.page.locator(".engine[data-state=lost]").wait_for()
        assert "lost, being started again" in operator.text(".engine h2")
        assert "cannot paint now" in operator.text("#view-operate .summary")
        operator.page.locator(".engine[data-state=ready] svg.ledger").wait_for()
        paints(tab)
        assert operator.trouble == []


def test_a_prompt_that_is_refused(tab: Tab) -> None:
    tab.paint("a lot of gore")
    tab.page.locator("#prompt[aria-invalid=true]").wait_for()
    assert "safety system" in tab.text("#prompt-error")
    assert tab.page.evaluate("document.activeElement.id") == "prompt"
    steps(tab, 2)
    paints(tab)


def test_more_than_a_key_may_take(browser: Any, house: Server) -> None:
    said = {"tenant": "few", "limits": {"requests_per_minute": 1}}
    made = httpx.post(f"{house.url}/v1/admin/keys", json=said, headers={"api-key": "root"}).json()
    with opened(browser, house.url) as tab:
        given(tab, made["key"])
        steps(tab, 2)
        tab.paint("a red circle")
        tab.painted()
        tab.paint("a red circle")
        tab.page.locator(ALERT).wait_for()
        assert "requests" in tab.text(ALERT)
        assert tab.text(FAILED) == tab.text(ALERT)
        assert tab.page.locator("#pictures a[download]").count() == 1
        assert tab.page.locator("#paint:enabled").count() == 1


def test_a_server_that_cannot_be_reached(tab: Tab) -> None:
    steps(tab, 150)
    tab.page.context.set_offline(True)
    tab.paint("a red circle")
    tab.page.locator(ALERT).wait_for()
    assert tab.text(ALERT) == "The server cannot be reached."
    tab.page.context.set_offline(False)
    paints(tab)
    tab.page.context.set_offline(True)
    tab.paint("a red circle")
    tab.page.locator(FAILED).wait_for()
    assert tab.text(FAILED) == tab.text(ALERT) == "The server cannot be reached."
    tab.page.context.set_offline(False)
    paints(tab)
