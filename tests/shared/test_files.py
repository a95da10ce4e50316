"""A file is found, read, listed, used and deleted at any gateway, whichever took it or wrote it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr

from sdxl_gateway.config import Files
from sdxl_gateway.core.errors import NotFound, Unavailable
from sdxl_gateway.gateway.fleet.files import FleetFiles
from sdxl_gateway.storage.database import opened as database_in
from sdxl_gateway.storage.file_table import Purpose
from sdxl_gateway.storage.files import NewFile
from sdxl_gateway.storage.pages import Cut
from tests.kit.api import GENERATE
from tests.kit.batch_fleets import CommonFolder
from tests.kit.clock import Clock
from tests.kit.pictures import PNG
from tests.kit.redis_server import RedisServer
from tests.kit.serving import served
from tests.kit.sharing import Sharer, eventually

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
Http = httpx.AsyncClient
Two = tuple[Http, Http]
Opened = Callable[..., AbstractAsyncContextManager[Http]]
EDIT = "/v1/images/edits"
BATCH = json.dumps({"custom_id": "1", "method": "POST", "url": GENERATE, "body": {"prompt": "a", "size": "64x64"}})


@pytest.fixture
def opened(redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """A client of the gateway of that name, which looks at others often, with these settings of [redis]."""
    monkeypatch.setattr("sdxl_gateway.gateway.fleet.batches.SHARE_SECONDS", 0.02)
    monkeypatch.setattr("sdxl_gateway.gateway.fleet.files.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.02)
    keys = redis.sections["auth"].model_copy(update={"api_keys": (SecretStr("alpha"), SecretStr("beta"))})

    @asynccontextmanager
    async def gateway(name: str, **settings: Any) -> AsyncIterator[Http]:
        section = redis.sections["redis"].model_copy(update=settings)
        async with served(tmp_path / name, **(redis.sections | {"auth": keys, "redis": section})) as http:
            http.headers["api-key"] = "alpha"
            yield http

    return gateway


@asynccontextmanager
async def both(opened: Opened, **settings: Any) -> AsyncIterator[Two]:
    async with opened("a", **settings) as a, opened("b", **settings) as b:
        yield a, b


async def sent(http: Http, data: bytes | str = PNG, purpose: str = "vision") -> dict[str, Any]:
    """The file, as it was answered."""
    answer = await http.post("/v1/files", data={"purpose": purpose}, files={"file": ("a.bin", data)})
    assert answer.status_code == 200, answer.text
    return cast(dict[str, Any], answer.json())


async def content(http: Http, file_id: str) -> httpx.Response:
    return await http.get(f"/v1/files/{file_id}/content")


async def listed(http: Http, **query: Any) -> list[str]:
    return [one["id"] for one in (await http.get("/v1/files", params=query)).json()["data"]]


async def test_a_file_is_found_used_and_deleted_at_the_other(opened: Opened, redis: RedisServer) -> None:
    async with both(opened) as (a, b):
        file = await sent(a)
        assert (await b.get(f"/v1/files/{file['id']}")).json() == file
        assert (await content(b, file["id"])).content == (await content(a, file["id"])).content
        edit = {"prompt": "a", "images": [{"file_id": file["id"]}], "size": "64x64", "steps": 1}
        assert (await b.post(EDIT, json=edit)).status_code == 200
        for path, verb in (("", "GET"), ("/content", "GET"), ("", "DELETE")):
            refused = await b.request(verb, f"/v1/files/{file['id']}{path}", headers={"api-key": "beta"})
            assert refused.status_code == 404
        assert await listed(b) == [file["id"]]
        assert (await b.get("/v1/files", headers={"api-key": "beta"})).json()["data"] == []
        assert all(int(redis.cli("PTTL", name)) > 0 for name in redis.cli("KEYS", "*file*").splitlines())
        assert (await b.delete(f"/v1/files/{file['id']}")).json()["deleted"] is True
        for http in (a, b):
            assert (await http.get(f"/v1/files/{file['id']}")).status_code == 404
            assert await listed(http) == []
        mine = await sent(a)
        await a.delete(f"/v1/files/{mine['id']}")
        assert (await b.get(f"/v1/files/{mine['id']}")).status_code == 404


async def test_files_of_both_are_one_list(opened: Opened) -> None:
    async with both(opened) as (a, b):
        ids = [(await sent(http))["id"] for http in (a, b, a, b, a)]
        for http in (a, b):
            assert await listed(http) == ids[::-1]
            assert await listed(http, order="asc", limit=2, after=ids[0]) == ids[1:3]
            assert await listed(http, limit=2, after=ids[3]) == [ids[2], ids[1]]
            assert await listed(http, purpose="batch") == []
            page = (await http.get("/v1/files", params={"limit": 5})).json()
            assert page["has_more"] is False
            assert (await http.get("/v1/files", params={"limit": 4})).json()["has_more"] is True
            assert (await http.get("/v1/files", params={"after": "file-0"})).status_code == 400


async def test_a_batch_reads_and_writes_files_that_both_have(opened: Opened) -> None:
    async with both(opened) as (a, b):
        file = await sent(a, BATCH, "batch")
        asked = {"input_file_id": file["id"], "endpoint": GENERATE, "completion_window": "24h"}
        made = (await b.post("/v1/batches", json=asked)).json()
        told: dict[str, Any] = {}

        async def over() -> bool:
            nonlocal told
            told = (await a.get(f"/v1/batches/{made['id']}")).json()
            return told.get("status") == "completed"

        assert await eventually(over), told
        there, here = [await content(http, told["output_file_id"]) for http in (a, b)]
        assert there.status_code == 200
        assert there.content == here.content


async def test_a_large_file_is_known_and_out_of_reach(opened: Opened) -> None:
    async with both(opened, max_upload_bytes=10) as (a, b):
        file = await sent(a, BATCH, "batch")
        assert (await b.get(f"/v1/files/{file['id']}")).json() == file
        refused = await content(b, file["id"])
        assert refused.status_code == 410
        assert "share a bucket" in refused.json()["error"]["message"]
        assert (await content(a, file["id"])).status_code == 200


async def test_what_redis_lost_is_told_again(opened: Opened, redis: RedisServer) -> None:
    async with both(opened) as (a, b):
        before = await sent(a)
        redis.stop()
        during = await sent(a)
        assert (await content(a, before["id"])).status_code == 200
        assert (await b.get(f"/v1/files/{before['id']}")).status_code == 503
        assert await listed(b) == []
        assert (await a.delete(f"/v1/files/{before['id']}")).status_code == 200
        redis.start()

        async def known() -> bool:
            return (await content(b, during["id"])).status_code == 200

        assert await eventually(known)
        assert (await b.get(f"/v1/files/{before['id']}")).status_code == 404


async def test_nobody_who_only_writes_into_redis_makes_a_file_or_deletes_one(
    opened: Opened, redis: RedisServer
) -> None:
    async with both(opened) as (a, b):
        file, other = await sent(a), await sent(a)
        (owner,) = redis.cli("KEYS", "sdxl-gateway:files-of:*").split()
        redis.cli("HSET", owner.replace("files-of", "file-deletes"), other["id"], "x" * 40)

        async def is_forged() -> bool:
            """What its gateway was about to tell when it was forged is told over that."""
            redis.cli("COPY", f"sdxl-gateway:file:{other['id']}", f"sdxl-gateway:file:{file['id']}", "REPLACE")
            redis.cli("HSET", f"sdxl-gateway:file-copy:{other['id']}", "bytes", "forged")
            found = await b.get(f"/v1/files/{file['id']}"), await content(b, other["id"])
            return [answer.status_code for answer in found] == [404, 410]

        assert await eventually(is_forged)
        assert (await content(a, other["id"])).status_code == 200


async def test_a_file_of_a_gateway_that_is_gone_is_read_and_not_deleted_before_it_is_back(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdxl_gateway.gateway.fleet.files.DELETE_SECONDS", 0.05)
    async with opened("b") as b:
        async with opened("a") as a:
            file = await sent(a)
        assert (await content(b, file["id"])).status_code == 200
        assert (await b.delete(f"/v1/files/{file['id']}")).status_code == 503
        async with opened("a") as a:

            async def gone() -> bool:
                return (await b.get(f"/v1/files/{file['id']}")).status_code == 404

            assert await eventually(gone)
            assert (await a.get(f"/v1/files/{file['id']}")).status_code == 404


@asynccontextmanager
async def fleet_files(redis: RedisServer, folder: Path, clock: Clock) -> AsyncIterator[FleetFiles]:
    async with Sharer.opened(redis, folder) as sharer:
        assert sharer.shared.files is not None
        with database_in(folder) as database:
            yield FleetFiles(database, CommonFolder(folder), Files(), sharer.shared.files, clock)


async def test_with_a_bucket_no_bytes_lie_in_redis_and_a_file_ends_everywhere(
    redis: RedisServer, tmp_path: Path
) -> None:
    clock = Clock(time.time())
    async with fleet_files(redis, tmp_path / "a", clock) as a, fleet_files(redis, tmp_path / "b", clock) as b:
        new = NewFile("in.jsonl", Purpose.BATCH, keep_seconds=60.0)
        file = await a.add("me", new, a.blobs.put(b"line"), 4)
        there = await b.find(file.id, "me")
        assert await asyncio.to_thread(lambda: b"".join(b.pieces(there))) == b"line"
        assert redis.cli("KEYS", "*file-copy*") == ""
        clock.now += 61.0
        with pytest.raises(NotFound):
            await b.find(file.id, "me")
        assert await b.page("me", Cut(10)) == ([], False)


async def test_a_tenants_files_are_erased_elsewhere_first(redis: RedisServer, tmp_path: Path) -> None:
    clock = Clock(time.time())
    async with fleet_files(redis, tmp_path / "a", clock) as a, fleet_files(redis, tmp_path / "b", clock) as b:
        file = await a.add("me", NewFile("in.jsonl", Purpose.BATCH), a.blobs.put(b"line"), 4)
        await b.find(file.id, "me")
        assert await a.erase("me") == 1
        with pytest.raises(NotFound):
            await b.find(file.id, "me")
        await a.add("me", NewFile("in.jsonl", Purpose.BATCH), a.blobs.put(b"line"), 4)
        redis.stop()
        with pytest.raises(Unavailable):
            await a.erase("me")
