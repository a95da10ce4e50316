"""A thousand requests of one tenant wait at a server; another tenant's pictures come as its share lets them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.kit.loopback import loopback
from tests.kit.servers import Server, server, until

GENERATE = "/v1/images/generations"
FLOOD = 1000
QUIET = 20
ASKED = {"prompt": "a red circle", "steps": 4, "size": "256x256", "response_format": "b64_json"}


@dataclass(frozen=True, slots=True)
class Waited:
    """From asking for a picture to having it: seconds, and the pictures of all tenants that were painted meanwhile."""

    seconds: float
    pictures: float


def waited(one: Server) -> list[Waited]:
    """For one picture after another."""
    with httpx.Client(base_url=one.url, headers={"api-key": "quiet"}, timeout=120) as client:
        return [_painted(one, client) for _ in range(QUIET)]


def _painted(one: Server, client: httpx.Client) -> Waited:
    before, start = metric(one, 'images_generated_total{model="demo"}'), time.monotonic()
    assert client.post(GENERATE, json=ASKED).status_code == 200
    seconds = time.monotonic() - start
    return Waited(seconds, metric(one, 'images_generated_total{model="demo"}') - before)


def p95(values: Iterable[float]) -> float:
    """Nearest rank: one of twenty may be worse, such as one that ended between the look before and the asking."""
    ordered = sorted(values)
    return ordered[ceil(0.95 * len(ordered)) - 1]


def waiting(one: Server) -> float:
    """Jobs in the line."""
    return metric(one, "queue_depth")


def metric(one: Server, series: str) -> float:
    """Asked patiently, for a thousand requests that come at once are read first."""
    text = loopback.get(f"{one.url}/metrics", timeout=120).text
    lines = (line.rpartition(" ") for line in text.splitlines())
    return next((float(value) for name, _, value in lines if name == f"sdxl_gateway_{series}"), 0.0)


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
    """Of two tenants each is due half the device, every second picture, and has to have every fourth at least.

    An engine holds two pictures, the one it paints and the next one: two of the flood's come before each of its own,
    and one may end between the look before and the asking. Pictures are counted, for how long one takes depends on
    what else the machine does meanwhile.
    """
    with server(
        tmp_path,
        auth__api_keys="flood,quiet",
        engine__max_lanes="1",
        limits__queue_size=str(FLOOD),
        limits__deadline_seconds="3600",
        server__max_connections_per_address="0",
    ) as one:
        alone = waited(one)
        with flooded(one):
            together = waited(one)
            assert waiting(one) > 0
        until(lambda: waiting(one) == 0)
    for name, found in (("alone", alone), ("beside a flood", together)):
        print(f"{name}: {p95(w.seconds for w in found):.3f} s, {p95(w.pictures for w in found):.1f} pictures")
    assert p95(w.pictures for w in alone) == 1
    assert p95(w.pictures for w in together) <= 2 * 2
