"""A client that goes away in mid-picture gives its place back at the next step."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.live.conftest import Paint
from tests.live.servers import Server, until

STEPS = "sdxl_gateway_denoise_steps_total"
CANCELLED = 'sdxl_gateway_cancelled_total{stage="painting"}'
LONG_STEPS = 150


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_its_place_is_free_again(live: Server, paint: Paint, stream: bool) -> None:
    golden = paint()
    cancelled, before = live.metric(CANCELLED), live.metric(STEPS)
    client = HTTPConnection(urlsplit(live.url).netloc)
    said = {"prompt": "a red circle", "steps": LONG_STEPS, "stream": stream}
    client.request("POST", "/v1/images/generations", json.dumps(said), {"content-type": "application/json"})
    until(lambda: live.metric(STEPS) > before)
    client.close()

    until(lambda: live.metric(CANCELLED) == cancelled + 1)
    until(live.is_idle)
    assert paint() == golden
    assert live.metric(STEPS) - before < LONG_STEPS / 2
