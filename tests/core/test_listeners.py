"""Every listener hears everything, whatever another one does."""

from __future__ import annotations

import logging

import pytest

from sdxl_gateway.core.events import EngineLost, Event
from sdxl_gateway.core.listeners import Listeners


def test_all_are_told_in_order() -> None:
    heard: list[tuple[str, Event]] = []
    announce = Listeners(lambda event: heard.append(("first", event)), lambda event: heard.append(("second", event)))
    announce(EngineLost("0"))
    assert heard == [("first", EngineLost("0")), ("second", EngineLost("0"))]


def test_one_that_raises_harms_nobody_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []

    def broken(event: Event) -> None:
        heard.append(event)
        raise OSError("the audit's disk is full")

    announce = Listeners(broken, heard.append)
    with caplog.at_level(logging.ERROR, logger="sdxl_gateway.core.listeners"):
        for number in range(3):
            announce(EngineLost(str(number)))
    assert heard == [EngineLost(str(number)) for number in (0, 0, 1, 1, 2, 2)]
    (record,) = caplog.records
    assert "broken" in record.getMessage()
    assert "the audit's disk is full" in caplog.text
