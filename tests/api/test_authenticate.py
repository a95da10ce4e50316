"""Tests api/http/authenticate.py and credentials.py: who is let in, and by which header."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.kit.api import GENERATE, KEYED, client, served_api


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
    served = served_api(**KEYED)
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
    served = served_api(**KEYED)
    async with client(served) as http:
        answer = await http.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["x-request-id"].startswith("req_")
    assert served.gateway.asks == []


async def test_health_openapi_files_and_metrics_need_no_key() -> None:
    async with client(served_api(**KEYED)) as http:
        statuses = [(await http.get(path)).status_code for path in ("/healthz", "/readyz", "/openapi.json", "/metrics")]
        assert statuses == [200] * 4
        assert (await http.get("/files/x.png")).status_code == 404
    protected = served_api(auth=KEYED["auth"] | {"protect_metrics": True})
    async with client(protected) as http:
        assert (await http.get("/metrics")).status_code == 401
        answer = await http.get("/metrics", headers={"api-key": "alpha", "accept": "text/x"})
    assert (answer.text, answer.headers["content-type"]) == (
        "# for text/x\n",
        "text/plain; version=0.0.4; charset=utf-8",
    )


async def test_a_socket_is_turned_away() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return await asyncio.Event().wait()

    await served_api().app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
