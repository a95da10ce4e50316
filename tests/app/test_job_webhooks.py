"""Whoever wanted to know is told when a job is over, once, by a server as it is put together."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from sdxl_gateway.accounts.keys import KeyGrant
from sdxl_gateway.app import _application, _running_alone
from sdxl_gateway.config import Auth, Egress, Loras, Settings
from sdxl_gateway.rooms import Rooms, build_rooms
from tests.kit.api import GENERATE
from tests.kit.colours import colour_backend
from tests.kit.other_server import OtherServer, other_server, saying
from tests.kit.webhooks import headers, until

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
ASYNC = {"prefer": "respond-async"}


@asynccontextmanager
async def served(folder: Path, receiver: OtherServer) -> AsyncIterator[tuple[Rooms, httpx.AsyncClient]]:
    """A server whose caller's key has the receiver's `/key`."""
    egress = Egress(private_hosts=(receiver.host,))
    settings = Settings(data_directory=folder / "data", loras=Loras(directory=folder), egress=egress, auth=Auth())
    built = build_rooms(settings, colour_backend)
    application = _application(built, partial(_running_alone, built))
    async with _running_alone(built):
        key, _ = await built.accounts.keys.create(KeyGrant("art", webhook_url=receiver.url("/key")))
        transport, bearer = httpx.ASGITransport(app=application), {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gw", headers=bearer) as http:
            yield built, http


async def accepted(http: httpx.AsyncClient, **said: Any) -> str:
    answer = await http.post(GENERATE, json={"prompt": "a fox", "steps": 1, **said}, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["id"]
    return found


async def test_each_end_of_a_job_is_told_once_to_whom_it_was_meant_for(tmp_path: Path) -> None:
    answers = {"/key": saying(b""), "/mine": saying(b"")}
    async with other_server(answers) as receiver, served(tmp_path, receiver) as (built, http):
        done = await accepted(http)
        own = await accepted(http, webhook_url=receiver.url("/mine"))
        late = await accepted(http, webhook_url=receiver.url("/mine"), steps=100)
        await http.post(f"/v1/jobs/{late}/cancel")
        await http.post(f"/v1/jobs/{late}/cancel")
        await until(partial(_delivered, http, {done, own, late}))
        (secret,) = await built.work.webhooks.store.secrets("art")
    told = {json.loads(body)["data"]["id"]: json.loads(body) for body in receiver.bodies}
    ends = {job: (told[job]["type"], told[job]["data"]["state"]) for job in (done, own, late)}
    assert ends == {
        done: ("image.job.completed", "completed"),
        own: ("image.job.completed", "completed"),
        late: ("image.job.cancelled", "cancelled"),
    }
    paths = {json.loads(body)["data"]["id"]: head.split(" ")[1] for head, body in _pairs(receiver)}
    assert paths == {done: "/key", own: "/mine", late: "/mine"}
    for head, body in _pairs(receiver):
        openai.OpenAI(api_key="-").webhooks.unwrap(body, headers(head), secret=secret)
    assert len(receiver.bodies) == 3


def _pairs(receiver: OtherServer) -> list[tuple[str, bytes]]:
    return list(zip(receiver.heads, receiver.bodies, strict=True))


async def _delivered(http: httpx.AsyncClient, jobs: set[str]) -> bool:
    shown = (await http.get("/v1/webhooks/deliveries")).json()["data"]
    return {one["subject"] for one in shown if one["state"] == "delivered"} == jobs


@pytest.mark.parametrize("url", ["http://a:b@x/", "ftp://x/", 7])
async def test_what_can_be_no_receiver_or_has_no_job_is_refused(tmp_path: Path, url: Any) -> None:
    async with other_server({}) as receiver, served(tmp_path, receiver) as (_, http):
        for asked, preference in ((url, ASYNC), (receiver.url("/mine"), {})):
            body = {"prompt": "a fox", "steps": 1, "webhook_url": asked}
            answer = await http.post(GENERATE, json=body, headers=preference)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "webhook_url")
