"""Tests api/: every bad request is refused in OpenAI's shape, names its field, paints nothing and leaves no trace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from sdxl_gateway.config import Files
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.files import FileStore
from tests.kit.api import ServedApi, served_api
from tests.kit.bad_requests import BadRequest, catalogue
from tests.kit.pictures import PNG

BAD = catalogue()
LEAKS = re.compile(r"Traceback|0x[0-9a-f]{6}|/site-packages|\.py\b|starlette|multipart\.|PIL|pydantic|JSONDecode", re.I)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApi]:
    folder = tmp_path_factory.mktemp("files")
    with opened(folder) as database:
        yield served_api(files=FileStore(database, BlobFolder(folder / "blobs"), Files()))


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


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"size": "99999x5"}, "the width is above 4096 and the height is below 64. '256x64' would do."),
        ({"size": "0x64"}, "the width is below 64. '64x64' would do."),
        ({"size": "1234567x1024"}, "the width is above 4096. '4096x1024' would do."),
        ({"size": "1024X"}, "the height is missing."),
        ({"size": "x1024"}, "the width is missing."),
        ({"size": "1024"}, "it says one side, not two."),
        ({"size": "64x64x3"}, "it is not two sides with an 'x' between."),
        ({"size": "1024.0x-64"}, "the width '1024.0' is no whole number of pixels."),
        ({"size": "1024x516"}, "the height is not divisible by 8. '1024x512' would do."),
        ({"size": "64x4096"}, "one side is more than 4 times the other. '64x256' would do."),
        ({"size": "5000x5000"}, "the width is above 4096 and the height is above 4096. '2048x2048' would do."),
        ({"width": 513, "height": 512}, "the width is not divisible by 8. '512x512' would do."),
        ({"background": "clear"}, "Supported values are: 'auto', 'opaque', 'transparent'."),
        ({"n": 1.5}, "expected an integer, but got 1.5 instead."),
        ({"n": "two"}, "expected an integer, but got 'two' instead."),
        ({"n": True}, "expected an integer, but got a boolean instead."),
        ({"stream": 2}, "expected a boolean, but got 2 instead."),
        ({"stream": "yes"}, "expected a boolean, but got 'yes' instead."),
        ({"guidance_scale": 10**400}, "expected a finite number, but got a number too large instead."),
        ({"guidance_scale": -(10**30)}, "Expected a value >= 0, but got a far smaller one instead."),
        ({"guidance_scale": "nan"}, "expected a finite number, but got 'nan' instead."),
        ({"loras": ["ink:9"]}, "A LoRA weight lies between -4 and 4; 9 does not."),
        ({"loras": [{"name": "ink", "scale": -5}]}, "a LoRA weight lies between -4 and 4; -5 does not."),
        ({"loras": [{"name": "ink", "scale": "5,0"}]}, "expected a finite number, but got '5,0' instead."),
        ({"loras": [""]}, "Missing required parameter: 'loras[0]' is empty."),
        ({"loras": ["a"] * 65}, "at most 64 entries, but got 65 instead."),
        ({"prompt": " "}, "Missing required parameter: 'prompt' is empty."),
        ({f"f{i}": i for i in range(400)}, "At most 300 fields are read; this request has 401."),
    ],
    ids=str,
)
async def test_a_refusal_says_what_is_wrong_with_this_value(
    served: ServedApi, said: dict[str, object], message: str
) -> None:
    body = json.dumps({"prompt": "a cat"} | said).encode()
    answer = await send(served, BadRequest("one", "POST", "/v1/images/generations", {}, body, 400, None, None))
    assert message in answer.json()["error"]["message"]


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
