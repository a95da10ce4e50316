"""One server for most of these tests, and clients for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.kit.browser import chromium
from tests.kit.node_clients import node_clients
from tests.kit.servers import TROUBLE, Server, server
from tests.kit.topologies import served, turn

Paint = Callable[..., str]


@pytest.fixture(scope="module", autouse=True)
def another_gateway() -> None:
    """Where there are several, each file of tests meets the next one."""
    turn()


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Whatever it is sent, its log holds no trouble in the end."""
    with served(tmp_path_factory.mktemp("live")) as one:
        yield one
    assert TROUBLE.findall(one.log) == []


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that paints one picture at a time and lets few wait."""
    with server(tmp_path_factory.mktemp("narrow"), engine__max_lanes="1", limits__queue_size="2") as one:
        yield one


@pytest.fixture(scope="session")
def openai(live: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{live.url}/v1", api_key="unused", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def http(live: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def paint(http: httpx.Client) -> Paint:
    """The base64 of a picture painted in four steps unless said otherwise."""

    def paint(**said: object) -> str:
        body = {"prompt": "a red circle", "steps": 4, "seed": 7, "response_format": "b64_json", **said}
        answer = http.post("/v1/images/generations", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"][0]["b64_json"])

    return paint


@pytest.fixture(scope="session")
def installed(pytestconfig: pytest.Config) -> Path:
    """JavaScript's clients beside their scripts."""
    assert pytestconfig.cache is not None
    return node_clients(pytestconfig.cache)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for all tests of a file."""
    with chromium() as running:
        yield running
