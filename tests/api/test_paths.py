"""Tests api/http/paths.py: the spellings of an address that find their route, and those that must not."""

from __future__ import annotations

import pytest

from sdxl_gateway.api.http.paths import tidy_path
from tests.kit.api import KEYED, client, served_api

ASK = {"prompt": "a cat"}
GENERATE = [
    "/v1/images/generations",
    "/images/generations",
    "/openai/v1/images/generations",
    "/openai/images/generations",
]


@pytest.mark.parametrize("path", GENERATE)
@pytest.mark.parametrize("spelling", ["{}", "{}/", "{}//", "/{}", "//{}", "{}?api-version=1", "{}/?api-version=1"])
async def test_a_client_may_write_it_so(path: str, spelling: str) -> None:
    served = served_api()
    async with client(served) as http:
        answer = await http.post("http://gw" + spelling.format(path), json=ASK)
    assert answer.status_code == 200
    assert served.seen[0].operation == "images.generations"


@pytest.mark.parametrize("path", ["/v1//images/generations", "/v1/images//generations/", "/v1///images///generations"])
async def test_doubled_slashes_are_one(path: str) -> None:
    async with client(served_api()) as http:
        assert (await http.post(path, json=ASK)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models/", "//v1//models", "/openai/v1/models", "/openai/models/", "/healthz/"])
async def test_so_it_is_for_all_routes(path: str) -> None:
    async with client(served_api()) as http:
        assert (await http.get("http://gw" + path)).status_code == 200


@pytest.mark.parametrize("name", ["org/ink", "org%2Fink", "org%2fink", "org/ink/", "%6frg%2Fink"])
async def test_a_name_may_hold_slashes_of_both_kinds(name: str) -> None:
    async with client(served_api()) as http:
        answer = await http.get(f"http://gw/v1/models/{name}")
    assert answer.json()["id"] == "org/ink"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://gw/v1/models", "/v1/models"),
        (b"HTTPS://gw:8000//v1/models/", "/v1/models"),
        (b"http://gw", "/"),
        (b"/v1/models/http://gw/x", "/v1/models/http:/gw/x"),
    ],
)
def test_a_whole_address_is_read_for_its_path(target: bytes, path: str) -> None:
    assert tidy_path(target) == path


PATHS = [
    "/v1%2fmodels",
    "/v1%2Fmodels",
    "%2fv1/models",
    "/v1/models%2f",
    "/v1%2fmodels/org/ink",
    "/v1%252fmodels",
    "/healthz%2f",
]


@pytest.mark.parametrize("path", PATHS)
async def test_an_encoded_slash_is_part_of_a_name(path: str) -> None:
    async with client(served_api()) as http:
        answer = await http.get("http://gw/" + path.lstrip("/"))
    assert answer.status_code == 404
    assert "%2" in answer.json()["error"]["message"].lower()


@pytest.mark.parametrize("path", ["/v1%2fmodels", "/openai/models", "//v1//models//"])
async def test_no_spelling_goes_round_the_key(path: str) -> None:
    async with client(served_api(**KEYED)) as http:
        assert (await http.get("http://gw" + path)).status_code == 401
