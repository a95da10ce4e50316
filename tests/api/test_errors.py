"""Tests api/http/errors.py: every error has its status, its headers and no secrets."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from sdxl_gateway.api.http.errors import TABLE, answer_for, error_headers
from sdxl_gateway.core import errors as e
from tests.kit.api import GENERATE, FakeGateway, client, failing, served_api


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
        (e.StillLoading(waited_seconds=2.5), 503, ("3", "2500"), None),
        (e.StillLoading(waited_seconds=60.0), 503, ("15", "15000"), None),
        (e.DoesNotFit("x"), 507, None, "false"),
        (e.StorageFull("x"), 507, None, "false"),
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
    async with client(served_api(failing(error, late=True))) as http:
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

    served = served_api(Empty())
    async with client(served) as http:
        whole = await http.post(GENERATE, json={"prompt": "a"})
        stream = await http.post(GENERATE, json={"prompt": "a", "stream": True})
    assert (whole.status_code, stream.status_code) == (500, 500)
    assert served.gateway.closed == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
async def test_a_full_disk_is_told_wherever_it_is_met(number: int) -> None:
    served = served_api(FakeGateway(error=OSError(number, "No space", "/root/secret")))
    async with client(served) as http:
        answer = await http.post(GENERATE, json={"prompt": "a"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (507, "storage_full", "server_error")
    assert answer.headers["x-should-retry"] == "false"
    assert "secret" not in answer.text


async def test_the_last_resort_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    served = served_api(FakeGateway(error=RuntimeError("/root/secret 0xdeadbeef")))
    async with client(served) as http:
        answer = await http.post(GENERATE, json={"prompt": "a"})
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text
    assert served.seen[0].status == 500
