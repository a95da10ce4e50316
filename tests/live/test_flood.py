"""A thousand requests of one tenant wait at a server; another tenant's pictures come as its share lets them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlsplit

import httpx
import pytest

from tests.kit.servers import Server, server, until

GENERATE = "/v1/images/generations"
FLOOD = 1000
QUIET = 20
ASKED = {"prompt": "a red circle", "steps": 4, "size": "256x256", "response_format": "b64_json"}


def p95_of(one: Server) -> float:
    """Seconds of one picture after another."""
    with httpx.Client(base_url=one.url, headers={"api-key": "quiet"}, timeout=120) as client:
        return quantiles([_painted(client) for _ in range(QUIET)], n=20)[-1]


def _painted(client: httpx.Client) -> float:
    start = time.monotonic()
    assert client.post(GENERATE, json=ASKED).status_code == 200
    return time.monotonic() - start


def waiting(one: Server) -> float:
    """Jobs in the line; asked patiently, for a thousand requests that come at once are read first."""
    text = httpx.get(f"{one.url}/metrics", timeout=120).text
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return next(float(value) for name, value, *_ in lines if name == "sdxl_gateway_queue_depth")


@contextmanager
def flooded(one: Server) -> Iterator[None]:
    """So many requests of the other tenant wait, until the context is left and their connections with it."""
    body = json.dumps(ASKED).encode()
    head = f"POST {GENERATE} HTTP/1.1\r\nhost: gw\r\napi-key: flood\r\ncontent-type: application/json\r\n"
    address = urlsplit(one.url)
    with ExitStack() as stack:
        for _ in range(FLOOD):
            connection = stack.enter_context(socket.create_connection((address.hostname, address.port)))
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: waiting(one) > 0.8 * FLOOD)
        yield


@pytest.mark.full
def test_a_flood_of_a_thousand_leaves_another_tenant_its_share(tmp_path: Path) -> None:
    """Of two tenants each is due half the device: a picture takes twice as long, and at most twice that."""
    with server(
        tmp_path,
        auth__api_keys="flood,quiet",
        engine__max_lanes="1",
        limits__queue_size=str(FLOOD),
        limits__deadline_seconds="3600",
        server__max_connections_per_address="0",
    ) as one:
        alone = p95_of(one)
        with flooded(one):
            together = p95_of(one)
            assert waiting(one) > 0
        until(lambda: waiting(one) == 0)
    print(f"alone {alone:.3f} s, beside a flood {together:.3f} s")
    assert together <= 2 * 2 * alone
