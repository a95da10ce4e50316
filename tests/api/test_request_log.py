"""Tests api/http/request_log.py and context.py: what is noted of each request."""

from __future__ import annotations

from typing import Any

import pytest

from sdxl_gateway.core import errors as e
from tests.kit.api import GENERATE, KEYED, FakeGateway, client, failing, served_api
from tests.kit.forms import FORM
from tests.kit.pictures import PNG
from tests.kit.wires import Wire


async def test_what_was_seen() -> None:
    served = served_api()
    async with client(served) as http:
        await http.post(
            GENERATE, json={"prompt": "a", "model": "demo", "foo": 1}, headers={"x-stainless-retry-count": "2"}
        )
        await http.get("/v1/models", headers={"x-stainless-retry-count": "many", "x-client-request-id": "mine"})
    painted, listed = served.seen
    assert (painted.operation, painted.model, painted.status, painted.retry_count) == (
        "images.generations",
        "demo",
        200,
        2,
    )
    assert painted.ignored == ("foo",)
    assert painted.seconds > 0
    assert (listed.operation, listed.retry_count) == ("models", 0)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"content": b"{"}, "invalid_json"),
        ({"content": b"[]"}, "invalid_type"),
        ({"json": {}}, "missing_required_parameter"),
        ({"json": {"prompt": "a", "n": 99}}, "integer_above_max_value"),
        ({"content": b"a", "headers": {"content-type": "image/png"}}, "unsupported_media_type"),
        ({"content": b"x" * 500}, "request_too_large"),
        ({"content": b"x", "headers": {**FORM}}, "invalid_multipart"),
        ({"method": "GET"}, "method_not_allowed"),
        ({"path": "/v2/images/generations"}, "not_found"),
        ({"path": "/openai/deployments/x/images/edits", "json": {"prompt": "a"}}, "missing_required_parameter"),
    ],
    ids=str,
)
async def test_a_refused_request_to_paint_is_seen_by_its_code(asked: dict[str, Any], code: str) -> None:
    served = served_api(server={"max_body_bytes": 400})
    async with client(served) as http:
        answer = await http.request(**({"method": "POST", "url": asked.pop("path", GENERATE)} | asked))
    assert answer.status_code >= 400
    assert [seen.refused for seen in served.seen] == [code]
    assert served.seen[0].response_bytes == len(answer.content)


@pytest.mark.parametrize(
    ("path", "said", "status"),
    [
        (GENERATE, {"prompt": "a"}, 200),
        (GENERATE, {"prompt": "a", "stream": True}, 200),
        (GENERATE, {}, 400),
        ("/v1/nowhere", {}, 404),
    ],
)
async def test_every_answer_says_how_long_it_took(path: str, said: dict[str, Any], status: int) -> None:
    async with client(served_api()) as http:
        answer = await http.post(path, json=said)
    assert (answer.status_code, answer.headers["openai-processing-ms"].isdigit()) == (status, True)


@pytest.mark.parametrize(
    ("said", "known"),
    [(b"mine-7", "mine-7"), (b"x" * 512, "x" * 512), (b"x" * 513, None), (b"\xc3\xa9", None), (b"a\tb", None)],
)
async def test_a_caller_may_name_its_request(said: bytes, known: str | None) -> None:
    served = served_api()
    async with client(served) as http:
        await http.post(GENERATE, json={"prompt": "a"}, headers={b"x-client-request-id": said})
        await http.post(GENERATE, json={"prompt": "a"})
    assert [one.client_request_id for one in served.seen] == [known, None]


async def test_no_key_a_full_line_and_a_slow_body_are_seen_as_refusals() -> None:
    keyed, busy = served_api(**KEYED), served_api(failing(e.Busy("full", retry_after_seconds=1)))
    slow = served_api(server={"receive_timeout_seconds": 0.05})
    async with client(keyed) as http:
        await http.post(GENERATE, json={"prompt": "a"})
    async with client(busy) as http:
        await http.post(GENERATE, json={"prompt": "a", "stream": True})
    wire = Wire(slow.app, GENERATE)
    wire.push(b"{", more=True)
    await wire.rest()
    codes = [one.seen[0].refused for one in (keyed, busy, slow)]
    assert codes == ["invalid_api_key", "rate_limit_exceeded", "request_timeout"]


@pytest.mark.parametrize(
    "error", [e.EngineFault("x"), e.Unavailable("x"), e.DoesNotFit("x"), RuntimeError("x")], ids=repr
)
async def test_what_the_server_could_not_do_is_no_refusal(error: Exception) -> None:
    served = served_api(FakeGateway(error=error))
    async with client(served) as http:
        await http.post(GENERATE, json={"prompt": "a"})
        await http.get("/nowhere")
    assert [seen.refused for seen in served.seen] == [None, None]


async def test_the_bytes_of_a_stream_are_counted() -> None:
    served = served_api()
    async with client(served) as http:
        answer = await http.post(GENERATE, json={"prompt": "a", "stream": True, "partial_images": 2})
    assert served.seen[0].response_bytes == len(answer.content) > 3 * len(PNG)
