"""What clients can cause is one log line a second of each kind, and nothing is hidden that way."""

from __future__ import annotations

import io
import logging

import pytest
import uvicorn

from sdxl_gateway.config import Telemetry
from sdxl_gateway.telemetry.logs import configure_logs
from sdxl_gateway.telemetry.seldom import Seldom
from tests.kit.raw_http import connected, served


def _said(seldom: Seldom, text: str, level: int = logging.WARNING) -> str | None:
    record = logging.LogRecord("a", level, "", 0, text, (), None)
    return record.getMessage() if seldom.filter(record) else None


def test_one_of_a_kind_a_second_with_the_number_of_the_others() -> None:
    now = 0.0
    seldom = Seldom(lambda: now)
    said = []
    for now in (0.0, 0.3, 0.9, 1.0, 1.5, 9.0, 19.0):  # noqa: B007 (the clock reads it)
        said.append(_said(seldom, "odd"))
    more = "odd (and {} more since the last such line)"
    assert said == ["odd", None, None, more.format(2), None, more.format(1), "odd"]


def test_kinds_and_levels_do_not_hide_each_other() -> None:
    seldom = Seldom(lambda: 0.0)
    assert [_said(seldom, text) for text in ("odd", "even", "odd")] == ["odd", "even", None]
    assert [_said(seldom, "odd", logging.ERROR) for _ in range(2)] == ["odd"] * 2


@pytest.mark.usefixtures("logs_as_they_were")
async def test_a_flood_of_invalid_requests_is_a_line_or_two() -> None:
    stream = io.StringIO()
    configure_logs(Telemetry(), stream)
    configure_logs(Telemetry(), stream)
    async with served() as house:
        for _ in range(50):
            async with connected(house) as (reader, writer):
                writer.write(b"\0\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    assert uvicorn.__name__ in stream.getvalue()
    assert 1 <= stream.getvalue().count("Invalid HTTP request") <= 5
