"""Batches as OpenAI's own client has them painted; and their pictures as one archive."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

import httpx
import openai
import pytest
from openai.types import Batch

from tests.kit.api import FakeGateway, ServedApi, client, official_client, served_api
from tests.kit.batches import BatchKit, batch_kit, request, working
from tests.kit.images import stored
from tests.kit.pictures import PNG

KEYS: dict[str, Any] = {"auth": {"api_keys": ["alpha", "beta"], "admin_keys": ["root"]}}
GENERATIONS: Literal["/v1/images/generations"] = "/v1/images/generations"
URL = "/v1/batches"


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[BatchKit]:
    async with batch_kit(tmp_path, FakeGateway()) as made:
        yield made


@pytest.fixture
def served(kit: BatchKit) -> ServedApi:
    return served_api(files=kit.files, batches=kit.batches, **KEYS)


async def test_an_admin_lists_and_cancels_everybodys(
    alpha: openai.AsyncOpenAI, beta: openai.AsyncOpenAI, served: ServedApi
) -> None:
    made = [await asked(one, request("a")) for one in (alpha, beta)]
    async with client(served, {"authorization": "Bearer root"}) as http:
        listed = (await http.get(URL)).json()["data"]
        whose = {one["id"]: one["tenant"] for one in listed}
        some = (await http.get(URL, params={"tenant": whose[made[0].id]})).json()["data"]
        cancelled = await http.post(f"{URL}/{made[1].id}/cancel")
    async with client(served, {"authorization": "Bearer alpha"}) as http:
        refused = await http.get(URL, params={"tenant": whose[made[1].id]})
    assert set(whose) == {one.id for one in made}
    assert [one["id"] for one in some] == [made[0].id]
    assert (cancelled.json()["status"], refused.status_code) == ("cancelling", 403)


@pytest.fixture
async def alpha(served: ServedApi) -> AsyncIterator[openai.AsyncOpenAI]:
    async with official_client(served, "alpha") as made:
        yield made


@pytest.fixture
async def beta(served: ServedApi) -> AsyncIterator[openai.AsyncOpenAI]:
    async with official_client(served, "beta") as made:
        yield made


@pytest.fixture
async def http(served: ServedApi) -> AsyncIterator[httpx.AsyncClient]:
    async with client(served, {"authorization": "Bearer alpha"}) as made:
        yield made


async def sent(client: openai.AsyncOpenAI, *lines: bytes) -> str:
    return (await client.files.create(file=("in.jsonl", b"\n".join(lines)), purpose="batch")).id


async def asked(client: openai.AsyncOpenAI, *lines: bytes) -> Batch:
    return await client.batches.create(
        input_file_id=await sent(client, *lines),
        endpoint=GENERATIONS,
        completion_window="24h",
        metadata={"for": "posters"},
        output_expires_after={"anchor": "created_at", "seconds": 3600},
    )


async def over(client: openai.AsyncOpenAI, batch_id: str) -> Batch:
    for _ in range(1000):
        if (batch := await client.batches.retrieve(batch_id)).status in ("completed", "failed", "cancelled"):
            return batch
        await asyncio.sleep(0.01)
    raise TimeoutError


async def test_a_batchs_life(alpha: openai.AsyncOpenAI, kit: BatchKit) -> None:
    made = await asked(alpha, request("a"), request("b", response_format="url"), request("c", steps=-1))
    assert (made.status, made.endpoint, made.completion_window) == ("validating", GENERATIONS, "24h")
    assert (made.expires_at or 0) - made.created_at == 86400
    async with working(kit):
        done = await over(alpha, made.id)
    assert (done.status, done.metadata, done.errors) == ("completed", {"for": "posters"}, None)
    assert done.request_counts is not None
    counts = done.request_counts
    assert (counts.total, counts.completed, counts.failed) == (3, 2, 1)
    assert done.in_progress_at is not None
    assert done.completed_at is not None
    output = await alpha.files.retrieve(done.output_file_id or "")
    assert (output.purpose, output.filename) == ("batch_output", f"{made.id}_output.jsonl")
    assert (output.expires_at or 0) - output.created_at == 3600
    lines = (await alpha.files.content(output.id)).text.splitlines()
    a, b = (json.loads(line) for line in lines)
    assert a["response"]["body"]["data"][0]["b64_json"]
    assert "url" not in a["response"]["body"]["data"][0]
    assert b["response"]["body"]["data"][0]["url"].startswith("http://gw/files/")
    errors = (await alpha.files.content(done.error_file_id or "")).text.splitlines()
    assert json.loads(errors[0])["response"]["body"]["error"]["param"] == "steps"


async def test_a_file_that_is_wrong(alpha: openai.AsyncOpenAI, kit: BatchKit) -> None:
    made = await asked(alpha, request("a"), b"{")
    async with working(kit):
        done = await over(alpha, made.id)
    assert done.errors is not None
    (error,) = done.errors.data or []
    assert (done.status, error.line, error.code) == ("failed", 2, "invalid_json_line")


async def test_one_is_cancelled(alpha: openai.AsyncOpenAI, kit: BatchKit) -> None:
    made = await asked(alpha, request("a"))
    assert (await alpha.batches.cancel(made.id)).status == "cancelling"
    async with working(kit):
        done = await over(alpha, made.id)
    assert done.cancelled_at is not None
    assert (await alpha.batches.cancel(made.id)).status == "cancelled"


async def test_what_ended_by_itself_is_not_cancelled(alpha: openai.AsyncOpenAI, kit: BatchKit) -> None:
    made = [await asked(alpha, line) for line in (request("a"), b"{")]
    async with working(kit):
        for batch in made:
            done = await over(alpha, batch.id)
            with pytest.raises(openai.ConflictError, match=f"Cannot cancel a batch with status '{done.status}'"):
                await alpha.batches.cancel(batch.id)
            assert await alpha.batches.retrieve(batch.id) == done


async def test_the_client_pages_through_its_own(alpha: openai.AsyncOpenAI, beta: openai.AsyncOpenAI) -> None:
    made = [(await asked(alpha, request("a"))).id for _ in range(5)]
    theirs = await asked(beta, request("a"))
    assert sorted([one.id async for one in alpha.batches.list(limit=2)]) == sorted(made)
    for ask in (alpha.batches.retrieve, alpha.batches.cancel):
        with pytest.raises(openai.NotFoundError, match=f"No batch found with id '{theirs.id}'"):
            await ask(theirs.id)
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        await alpha.batches.create(input_file_id=theirs.input_file_id, endpoint=GENERATIONS, completion_window="24h")


GOOD = {"input_file_id": "file-1", "endpoint": GENERATIONS, "completion_window": "24h"}


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"input_file_id": None}, "input_file_id"),
        ({"input_file_id": 1}, "input_file_id"),
        ({"endpoint": "/v1/chat/completions"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"completion_window": "48h"}, "completion_window"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"metadata": {"a" * 65: "x"}}, "metadata"),
        ({"output_expires_after": 1}, "output_expires_after"),
        ({"output_expires_after": {"anchor": "now", "seconds": 3600}}, "output_expires_after.anchor"),
        ({"output_expires_after": {"anchor": "created_at"}}, "output_expires_after.seconds"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
        ({"priority": "high"}, "priority"),
    ],
    ids=str,
)
async def test_a_body_that_is_wrong_names_its_field(http: httpx.AsyncClient, said: Any, param: str) -> None:
    answer = await http.post(URL, json=GOOD | said)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_its_pictures_are_one_archive(
    alpha: openai.AsyncOpenAI, http: httpx.AsyncClient, kit: BatchKit, served: ServedApi
) -> None:
    lines = [request("a", n=2), request("b/../b", response_format="url"), request("c", steps=-1)]
    made = await asked(alpha, *lines)
    before = await http.get(f"{URL}/{made.id}/archive")
    served.images.kept[stored(0, tenant=(await kit.store.find(made.id)).tenant)] = PNG
    async with working(kit):
        await over(alpha, made.id)
    answer = await http.get(f"{URL}/{made.id}/archive")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{made.id}.zip"'
    assert ZipFile(io.BytesIO(before.content)).namelist() == []
    archive = ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() == ["00001-a-0.png", "00001-a-1.png", "00002-b_.._b.png"]
    assert {archive.read(name) for name in archive.namelist()} == {PNG}


async def test_nobody_elses_is_archived(served: ServedApi, alpha: openai.AsyncOpenAI) -> None:
    made = await asked(alpha, request("a"))
    async with client(served, {"authorization": "Bearer beta"}) as http:
        theirs, none = [await http.get(f"{URL}/{name}/archive") for name in (made.id, "batch_" + "0" * 32)]
    assert theirs.status_code == none.status_code == 404
    assert theirs.text.replace(made.id, "") == none.text.replace("batch_" + "0" * 32, "")


async def test_a_server_without_batches_says_so() -> None:
    async with client(served_api()) as http:
        assert (await http.get(URL)).status_code == 404
