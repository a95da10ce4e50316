"""Tests api/: every bad request is refused in OpenAI's shape, names its field, paints nothing and leaves no trace."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from tests.kit.api import ServedApi, served_api
from tests.kit.bad_requests import BadRequest, catalogue
from tests.kit.pictures import PNG

BAD = catalogue()
LEAKS = re.compile(r"Traceback|0x[0-9a-f]{6}|/site-packages|\.py\b|starlette|multipart\.|PIL|pydantic|JSONDecode", re.I)


@pytest.fixture(scope="module")
def served() -> ServedApi:
    return served_api()


async def send(served: ServedApi, bad: BadRequest) -> httpx.Response:
    transport = httpx.ASGITransport(app=served.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gw") as client:
        return await client.request(bad.method, bad.path, headers=bad.headers, content=bad.body)


def test_the_catalogue_is_wide() -> None:
    assert len({bad.name for bad in BAD}) == len(BAD) >= 200
    assert len({bad.kind for bad in BAD}) >= 60


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name[:60])
async def test_is_refused(served: ServedApi, bad: BadRequest) -> None:
    before = len(served.gateway.asks)
    answer = await send(served, bad)
    assert answer.status_code == bad.status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert (body["error"]["param"], body["error"]["code"]) == (bad.param, bad.code), answer.text
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])
    assert not LEAKS.search(body["error"]["message"]), answer.text
    assert len(answer.text) < 600
    assert len(served.gateway.asks) == before


async def test_the_next_good_request_is_answered_as_the_first(served: ServedApi) -> None:
    good = BadRequest("good", "POST", "/v1/images/generations", {}, b'{"prompt":"a cat","seed":7}', 200, None, None)
    golden = await send(served, good)
    for bad in BAD[::25]:
        await send(served, bad)
    again = await send(served, good)
    first, second = (json.loads(answer.content) | {"created": 0} for answer in (golden, again))
    assert first == second
    assert served.gateway.asks[-1].seed == 7
    assert PNG.startswith(b"\x89PNG")
