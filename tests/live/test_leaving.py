"""A client that goes away in mid-picture gives its place back at the next step."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.kit.servers import Server, until
from tests.live.conftest import Paint

STEPS = "sdxl_gateway_denoise_steps_total"
CANCELLED = 'sdxl_gateway_cancelled_total{stage="painting"}'
LONG_STEPS = 150


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_its_place_is_free_again(live: Server, paint: Paint, stream: bool) -> None:
    golden = paint()
    cancelled, before = live.metric(CANCELLED), live.metric(STEPS)
    client = _asking(live, stream=stream)
    until(lambda: live.metric(STEPS) > before)
    client.close()

    until(lambda: live.metric(CANCELLED) == cancelled + 1)
    until(live.is_idle)
    assert paint() == golden
    assert live.metric(STEPS) - before < LONG_STEPS / 2


def test_a_place_in_the_line_is_free_again(narrow: Server) -> None:
    waiting = 'sdxl_gateway_cancelled_total{stage="waiting"}'
    cancelled, before = narrow.metric(waiting), narrow.metric(STEPS)
    first = _asking(narrow)
    until(lambda: narrow.metric(STEPS) > before)
    second = _asking(narrow)
    until(lambda: narrow.metric("sdxl_gateway_queue_depth") == 1)
    second.close()
    until(lambda: narrow.metric(waiting) == cancelled + 1)
    assert narrow.metric("sdxl_gateway_queue_depth") == 0
    first.close()
    until(narrow.is_idle)


def _asking(one: Server, *, stream: bool = False) -> HTTPConnection:
    """A client that has asked for a long picture and not looked at the answer."""
    client = HTTPConnection(urlsplit(one.url).netloc)
    said = {"prompt": "a red circle", "steps": LONG_STEPS, "stream": stream}
    client.request("POST", "/v1/images/generations", json.dumps(said), {"content-type": "application/json"})
    return client
