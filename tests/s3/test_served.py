"""A server with a bucket: pictures by the bucket's address or its own, files in it, and a 503 while it is down."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from sdxl_gateway.config import S3, Delivery
from tests.kit.api import GENERATE
from tests.kit.pictures import PNG
from tests.kit.serving import served

pytest.importorskip("obstore", reason="needs the extra: pip install 'sdxl-gateway[s3]'")
pytest.importorskip("moto", reason="needs the extra: pip install 'sdxl-gateway[dev]'")

from sdxl_gateway.s3 import bucket as asked
from tests.kit.buckets import ObjectStore

# Building the application sets up the logs of the whole process, which other tests share.
pytestmark = pytest.mark.usefixtures("logs_as_they_were")
SAID = {"prompt": "a red circle", "size": "64x64", "steps": 2}
BY_URL = {**SAID, "response_format": "url"}


@pytest.fixture
def section(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> S3:
    monkeypatch.setattr(asked, "PAUSE_SECONDS", 0.0)
    return object_store.bucket()


async def upload(http: httpx.AsyncClient) -> httpx.Response:
    return await http.post("/v1/files", files={"file": ("a.png", PNG)}, data={"purpose": "vision"})


async def entry(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.post(GENERATE, json=BY_URL)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"][0]
    return found


async def test_a_picture_is_fetched_from_the_bucket_until_it_is_deleted(section: S3, tmp_path: Path) -> None:
    async with served(tmp_path, s3=section) as gateway, httpx.AsyncClient() as http:
        made = await entry(gateway)
        assert made["url"].startswith(f"{section.endpoint}/{section.bucket}/images/{made['id']}/")
        got = await http.get(made["url"])
        assert (got.status_code, got.headers["content-type"], got.content[:4]) == (200, "image/png", b"\x89PNG")
        card = (await gateway.get(f"/v1/images/{made['id']}")).json()
        assert (await http.get(card["url"])).content == got.content
        assert (await gateway.delete(f"/v1/images/{made['id']}")).status_code == 200
        assert (await http.get(made["url"])).status_code == 404


async def test_without_presigning_any_server_of_the_bucket_hands_it_out(section: S3, tmp_path: Path) -> None:
    shared: dict[str, Any] = {
        "s3": section.model_copy(update={"presign": False}),
        "delivery": Delivery(url_key=SecretStr("known to both")),
    }
    async with served(tmp_path / "one", **shared) as one, served(tmp_path / "two", **shared) as two:
        made = await entry(one)
        assert made["url"].startswith(f"http://gw/files/{made['id']}.png?expires=")
        mine, theirs = await one.get(made["url"]), await two.get(made["url"])
        assert (mine.status_code, theirs.status_code, mine.content) == (200, 200, theirs.content)
        await one.delete(f"/v1/images/{made['id']}")
        assert (await two.get(made["url"])).status_code == 410


async def test_a_file_lies_in_the_bucket_and_is_read_from_there(
    object_store: ObjectStore, section: S3, tmp_path: Path
) -> None:
    async with served(tmp_path, s3=section) as gateway:
        stored = (await upload(gateway)).json()
        assert [key.partition("/")[0] for key in object_store.keys(section)] == ["files"]
        assert not any(path.is_file() for path in (tmp_path / "data" / "blobs").rglob("*"))
        got = await gateway.get(f"/v1/files/{stored['id']}/content")
        assert (got.status_code, len(got.content)) == (200, stored["bytes"])
        object_store.down = True
        for answer in (await gateway.get(f"/v1/files/{stored['id']}/content"), await upload(gateway)):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_is_overloaded")
            assert int(answer.headers["retry-after"]) >= 1
            assert "obstore" not in answer.text
        object_store.down = False
        assert [one["id"] for one in (await gateway.get("/v1/files")).json()["data"]] == [stored["id"]]
        assert (await gateway.delete(f"/v1/files/{stored['id']}")).status_code == 200
        assert object_store.keys(section) == []


async def test_while_it_is_down_pictures_leave_as_data_or_not_at_all(
    object_store: ObjectStore, section: S3, tmp_path: Path
) -> None:
    async with served(tmp_path, s3=section) as gateway:
        object_store.down = True
        both = await gateway.post(GENERATE, json=SAID)
        assert (both.status_code, "url" in both.json()["data"][0]) == (200, False)
        assert base64.b64decode(both.json()["data"][0]["b64_json"])[:4] == b"\x89PNG"
        assert "could not be stored" in both.headers["x-sdxl-gateway-warning"]
        refused = await gateway.post(GENERATE, json=BY_URL)
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)


async def test_an_accepted_job_waits_for_it(object_store: ObjectStore, section: S3, tmp_path: Path) -> None:
    later = {"prefer": "respond-async"}
    async with served(tmp_path, s3=section) as gateway, asyncio.timeout(60):
        object_store.down = True
        accepted = await gateway.post(GENERATE, json=BY_URL, headers=later)
        assert accepted.status_code == 202
        job = f"/v1/jobs/{accepted.json()['id']}"
        while not object_store.asked:  # noqa: ASYNC110 - the store tells nobody that it was asked
            await asyncio.sleep(0.01)
        assert (await gateway.get(job)).json()["state"] in ("queued", "in_progress")
        object_store.down = False
        while (await gateway.get(job)).json()["state"] != "completed":  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
        assert len(object_store.keys(section)) == 1


async def test_a_batch_is_read_from_the_bucket_and_its_answers_lie_there(
    object_store: ObjectStore, section: S3, tmp_path: Path
) -> None:
    line = {"custom_id": "one", "method": "POST", "url": GENERATE, "body": BY_URL}
    async with served(tmp_path, s3=section) as gateway, asyncio.timeout(60):
        form = {"file": ("in.jsonl", json.dumps(line).encode())}
        file = (await gateway.post("/v1/files", files=form, data={"purpose": "batch"})).json()
        said = {"input_file_id": file["id"], "endpoint": GENERATE, "completion_window": "24h"}
        batch = (await gateway.post("/v1/batches", json=said)).json()
        while batch["status"] != "completed":
            await asyncio.sleep(0.05)
            batch = (await gateway.get(f"/v1/batches/{batch['id']}")).json()
        kinds = sorted(key.partition("/")[0] for key in object_store.keys(section))
        assert kinds == ["files", "files", "images"], "what was asked, what was answered, and the picture"
        answers = (await gateway.get(f"/v1/files/{batch['output_file_id']}/content")).json()
        url = answers["response"]["body"]["data"][0]["url"]
        async with httpx.AsyncClient() as http:
            assert (await http.get(url)).content[:4] == b"\x89PNG"
