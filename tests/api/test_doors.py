"""What every request passes: keys, body caps, deadlines, request ids, cross-origin headers and the last resort."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from sdxl_gateway.api.http.errors import TABLE, answer_for, error_headers
from sdxl_gateway.core import errors as e
from tests.api.fakes import FakeGateway, House, failing, house
from tests.api.forms import FORM, file, form, part
from tests.api.pictures import PNG
from tests.api.wires import Wire, body_of

GENERATE = "/v1/images/generations"
KEYED: dict[str, Any] = {"auth": {"api_keys": ["alpha", "béta"], "admin_keys": ["root"]}}


def client(served: House) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=served.app), base_url="http://gw")


@pytest.mark.parametrize(
    ("headers", "tenant", "admin"),
    [
        ({"authorization": "Bearer alpha"}, True, False),
        ({"authorization": "bearer  alpha"}, True, False),
        ({"api-key": "alpha"}, True, False),
        ({"x-api-key": "alpha"}, True, False),
        ({"authorization": "Bearer root"}, True, True),
        ({"authorization": "Bearer wrong", "x-api-key": "alpha"}, True, False),
    ],
    ids=str,
)
async def test_a_key_opens(headers: dict[str, str], tenant: bool, admin: bool) -> None:
    served = house(**KEYED)
    async with client(served) as http:
        answer = await http.post(GENERATE, json={"prompt": "a"}, headers=headers)
    assert answer.status_code == 200
    assert served.gateway.callers[0].admin is admin
    assert served.gateway.callers[0].tenant.startswith("key-") is tenant
    assert "alpha" not in repr(served.seen)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer"},
        {"authorization": "Basic alpha"},
        {"authorization": "Bearer alpha2"},
        {"authorization": b"Bearer \xe9\xff"},
        {"x-api-key": "x" * 100_000},
    ],
    ids=lambda headers: str(headers)[:40],
)
@pytest.mark.parametrize("path", [GENERATE, "/v1/models", "/models/x", "/v1/loras", "/nowhere", "/v1/files/x"])
async def test_without_one_every_route_is_shut(headers: dict[str, Any], path: str) -> None:
    served = house(**KEYED)
    async with client(served) as http:
        answer = await http.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["x-request-id"].startswith("req_")
    assert served.gateway.asks == []


async def test_health_openapi_files_and_metrics_need_no_key() -> None:
    async with client(house(**KEYED)) as http:
        statuses = [(await http.get(path)).status_code for path in ("/healthz", "/readyz", "/openapi.json", "/metrics")]
        assert statuses == [200] * 4
        assert (await http.get("/files/x.png")).status_code == 404
    protected = house(auth=KEYED["auth"] | {"protect_metrics": True})
    async with client(protected) as http:
        assert (await http.get("/metrics")).status_code == 401
        answer = await http.get("/metrics", headers={"api-key": "alpha", "accept": "text/x"})
    assert (answer.text, answer.headers["content-type"]) == (
        "# for text/x\n",
        "text/plain; version=0.0.4; charset=utf-8",
    )


async def test_not_ready_is_503() -> None:
    async with client(house(FakeGateway(ready=False))) as http:
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"engines": 1, "ready": False})
        assert (await http.get("/healthz")).status_code == 200


async def test_a_declared_large_body_is_refused_unread() -> None:
    wire = Wire(house(server={"max_body_bytes": 100}).app, GENERATE, headers={"content-length": "101"})
    start, *rest = await wire.rest()
    assert start["status"] == 413
    assert dict(start["headers"])[b"connection"] == b"close"
    assert b"request_too_large" in body_of(rest)


@pytest.mark.parametrize("length", ["-1", "1.5", "ten", "9" * 30])
async def test_a_length_that_is_none_is_refused(length: str) -> None:
    start, *_ = await Wire(house().app, GENERATE, headers={"content-length": length}).rest()
    assert start["status"] == 400


@pytest.mark.parametrize(("size", "status"), [(100, 200), (101, 413)])
async def test_an_undeclared_large_body_is_refused_while_read(size: int, status: int) -> None:
    wire = Wire(house(server={"max_body_bytes": 100}).app, GENERATE)
    body = b'{"prompt":"' + b"a" * (size - 13) + b'"}'
    wire.push(body[:60], more=True)
    wire.push(body[60:])
    start, *_ = await wire.rest()
    assert start["status"] == status


async def test_a_slow_body_is_given_up() -> None:
    wire = Wire(house(server={"receive_timeout_seconds": 0.05}).app, GENERATE)
    wire.push(b'{"prompt":', more=True)
    start, *rest = await wire.rest()
    assert start["status"] == 408
    assert b"request_timeout" in body_of(rest)


async def test_a_large_file_is_named() -> None:
    served = house(limits={"max_image_bytes": len(PNG)})
    async with client(served) as http:
        body = form(part("prompt", "a"), file("image", PNG), file("image", PNG + b"x"))
        over = await http.post("/v1/images/edits", headers=FORM, content=body)
        huge = await http.post(
            "/v1/images/edits", headers=FORM, content=form(part("prompt", "a"), file("image", PNG + bytes(5000)))
        )
        fits = await http.post("/v1/images/edits", headers=FORM, content=form(part("prompt", "a"), file("image", PNG)))
    assert (over.status_code, over.json()["error"]["param"]) == (413, "image[1]")
    assert (huge.status_code, huge.json()["error"]["code"]) == (413, "image_file_too_large")
    assert fits.status_code == 200


async def test_the_last_resort_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    served = house(FakeGateway(error=RuntimeError("/root/secret 0xdeadbeef")))
    async with client(served) as http:
        answer = await http.post(GENERATE, json={"prompt": "a"})
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text
    assert served.seen[0].status == 500


async def test_cross_origin_pages_can_read_answers_and_errors() -> None:
    async with client(house(**KEYED)) as http:
        headers = {"origin": "http://page", "access-control-request-method": "POST"}
        preflight = await http.options(GENERATE, headers=headers | {"access-control-request-headers": "authorization"})
        refused = await http.get("/v1/models", headers={"origin": "http://page"})
    assert preflight.status_code == 200
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "*"
    assert "x-request-id" in refused.headers["access-control-expose-headers"]


async def test_what_was_seen() -> None:
    served = house()
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


async def test_warnings_travel_in_a_header() -> None:
    async with client(house(FakeGateway(warnings=("The prompt was cut\r\nafter 77 tokens — sorry.",)))) as http:
        answer = await http.post(GENERATE, json={"prompt": "a"})
    assert answer.headers["x-sdxl-gateway-warning"] == "The prompt was cut  after 77 tokens ? sorry."
    assert int(answer.headers["openai-processing-ms"]) >= 0


def classes(base: type[e.GatewayError]) -> list[type[e.GatewayError]]:
    return [base, *(found for child in base.__subclasses__() for found in classes(child))]


def test_every_error_has_its_row() -> None:
    assert set(TABLE) == {kind for kind in classes(e.GatewayError) if kind.__module__ == e.__name__}


@pytest.mark.parametrize(
    ("error", "status", "retry_after", "should_retry"),
    [
        (e.Busy("x", retry_after_seconds=0.2), 429, ("1", "200"), None),
        (e.Busy("x", retry_after_seconds=5000), 429, ("120", "120000"), None),
        (e.Busy("x", retry_after_seconds=float("nan")), 429, ("120", "120000"), None),
        (e.Busy("x", retry_after_seconds=-1), 429, ("1", "1"), None),
        (e.Unavailable("x"), 503, ("2", "2000"), None),
        (e.DoesNotFit("x"), 507, None, "false"),
        (e.NotFinite("x"), 500, None, "false"),
        (e.DeadlineExceeded("x"), 504, None, None),
        (e.Cancelled("x"), 499, None, None),
        (e.AdapterRefused("x"), 400, None, None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_errors_of_the_gateway(
    error: e.GatewayError, status: int, retry_after: tuple[str, str] | None, should_retry: str | None
) -> None:
    assert answer_for(error).status == status
    assert error_headers(error).get("x-should-retry") == should_retry
    async with client(house(failing(error, late=True))) as http:
        answer = await http.post(GENERATE, json={"prompt": "a"})
    assert answer.status_code == status
    given = (answer.headers.get("retry-after"), answer.headers.get("retry-after-ms"))
    assert given == (retry_after or (None, None))


async def test_an_iterator_without_pictures_is_our_fault() -> None:
    class Empty(FakeGateway):
        async def _items(self, ask: Any, keep: bool) -> Any:
            nothing: tuple[Any, ...] = ()
            for item in nothing:
                yield item

    served = house(Empty())
    async with client(served) as http:
        whole = await http.post(GENERATE, json={"prompt": "a"})
        stream = await http.post(GENERATE, json={"prompt": "a", "stream": True})
    assert (whole.status_code, stream.status_code) == (500, 500)
    assert served.gateway.closed == 2


async def test_a_socket_is_turned_away() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return await asyncio.Event().wait()

    await house().app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


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
    served = house(server={"max_body_bytes": 400})
    async with client(served) as http:
        answer = await http.request(**({"method": "POST", "url": asked.pop("path", GENERATE)} | asked))
    assert answer.status_code >= 400
    assert [seen.refused for seen in served.seen] == [code]
    assert served.seen[0].response_bytes == len(answer.content)


async def test_no_key_a_full_line_and_a_slow_body_are_seen_as_refusals() -> None:
    keyed, busy = house(**KEYED), house(failing(e.Busy("full", retry_after_seconds=1)))
    slow = house(server={"receive_timeout_seconds": 0.05})
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
    served = house(FakeGateway(error=error))
    async with client(served) as http:
        await http.post(GENERATE, json={"prompt": "a"})
        await http.get("/nowhere")
    assert [seen.refused for seen in served.seen] == [None, None]


async def test_the_bytes_of_a_stream_are_counted() -> None:
    served = house()
    async with client(served) as http:
        answer = await http.post(GENERATE, json={"prompt": "a", "stream": True, "partial_images": 2})
    assert served.seen[0].response_bytes == len(answer.content) > 3 * len(PNG)
