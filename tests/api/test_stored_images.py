"""Tests api/endpoints/stored_images.py and files.py: kept pictures, by their tenant's key and by signed addresses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from sdxl_gateway.core.ports import StoredImage
from tests.kit.api import GENERATE, KEYED, ServedApi, client, served_api
from tests.kit.images import NOW, signer, stored
from tests.kit.pictures import PNG

ALPHA, ROOT = {"api-key": "alpha"}, {"api-key": "root"}


@pytest.fixture
def served() -> ServedApi:
    return served_api(**KEYED)


async def tenant_of(served: ServedApi, http: httpx.AsyncClient) -> str:
    await http.post(GENERATE, json={"prompt": "a cat"})
    return served.gateway.callers[-1].tenant


async def kept(served: ServedApi, http: httpx.AsyncClient, count: int = 1) -> list[StoredImage]:
    tenant = await tenant_of(served, http)
    return [await served.images.put(PNG, "png", tenant=tenant) for _ in range(count)]


async def test_a_picture_is_seen_by_whoever_has_its_address(served: ServedApi) -> None:
    async with client(served, ALPHA) as http:
        (image,) = await kept(served, http)
        url = (await http.get(f"/v1/images/{image.id}")).json()["url"]
    async with client(served) as anybody:
        got = await anybody.get(url, headers={"origin": "http://page"})
        head = await anybody.head(url)
        refused = [
            await anybody.get(address) for address in (url.partition("?")[0], url + "x", url.replace("png", "webp"))
        ]
    assert url.startswith(f"http://gw/files/{image.id}.png?expires=")
    assert (got.content, got.headers["content-type"]) == (PNG, "image/png")
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert got.headers["cache-control"] == "private, max-age=3600"
    assert got.headers["access-control-allow-origin"] == "*"
    assert head.headers["content-length"] == str(len(PNG))
    assert {answer.status_code for answer in refused} == {404}
    assert len({answer.text for answer in refused}) == 1


async def test_an_address_leads_to_nothing_once_its_picture_is_deleted_or_its_time_is_over(served: ServedApi) -> None:
    async with client(served, ALPHA) as http:
        first, second = await kept(served, http, 2)
        address = f"/files/{first.file_name}?{signer().query(first, 60)}"
        assert (await http.get(address)).status_code == 200
        assert (await http.delete(f"/v1/images/{first.id}")).json() == {
            "id": first.id,
            "object": "image",
            "deleted": True,
        }
        deleted = await http.get(address)
        over = await http.get(f"/files/{second.file_name}?{signer(NOW - 61).query(second, 60)}")
        again = await http.delete(f"/v1/images/{first.id}")
    assert [(one.status_code, one.json()["error"]["code"]) for one in (deleted, over)] == [(410, "expired")] * 2
    assert again.status_code == 404


async def test_a_list_comes_page_by_page_each_with_an_address(served: ServedApi) -> None:
    async with client(served, ALPHA) as http:
        images = (await kept(served, http, 5))[::-1]
        first = (await http.get("/v1/images", params={"limit": 2})).json()
        second = (await http.get("/v1/images", params={"limit": 3, "after": first["last_id"]})).json()
        assert (await http.get(first["data"][0]["url"])).content == PNG
        wrong = await http.get("/v1/images", params={"after": "0" * 32})
        long = await http.get("/v1/images", params={"limit": 1001})
    assert [one["id"] for one in first["data"] + second["data"]] == [one.id for one in images]
    assert (first["has_more"], second["has_more"], first["first_id"]) == (True, False, images[0].id)
    assert {key: value for key, value in first["data"][0].items() if key != "url"} == {
        "id": images[0].id,
        "object": "image",
        "created_at": int(images[0].created),
        "expires_at": int(images[0].expires),
        "bytes": 1,
        "output_format": "png",
    }
    assert [(one.status_code, one.json()["error"]["param"]) for one in (wrong, long)] == [
        (400, "after"),
        (400, "limit"),
    ]


@pytest.mark.parametrize("verb", ["GET", "DELETE"])
async def test_anothers_picture_is_not_there(served: ServedApi, verb: str) -> None:
    mine = await served.images.put(PNG, "png", tenant="somebody else")
    async with client(served, ALPHA) as http:
        await kept(served, http)
        answers = [await http.request(verb, f"/v1/images/{image_id}") for image_id in (mine.id, "0" * 32, "x")]
        listed = (await http.get("/v1/images")).json()["data"]
        after = await http.get("/v1/images", params={"after": mine.id})
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert mine.id not in {one["id"] for one in listed}
    assert after.status_code == 400
    assert await served.images.find(mine.id) == mine


async def test_a_reply_names_what_it_keeps(served: ServedApi) -> None:
    async with client(served, ALPHA) as http:
        entry: dict[str, Any] = (await http.post(GENERATE, json={"prompt": "a cat"})).json()["data"][0]
        data = (await http.post(GENERATE, json={"prompt": "a cat", "response_format": "b64_json"})).json()["data"][0]
    assert entry["id"] == stored(0).id
    assert entry["url"].startswith(f"http://gw/files/{stored(0).file_name}?expires={int(NOW) + 3600}&signature=")
    assert "id" not in data
