"""A database that takes nothing more: whatever would be kept is refused in so many words, nothing accepted is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

from sdxl_gateway.app import _application, _running_alone
from sdxl_gateway.config import Auth, Loras, Settings
from sdxl_gateway.rooms import build_rooms
from tests.kit.api import GENERATE, KEYED
from tests.kit.batches import request
from tests.kit.colours import colour_backend
from tests.kit.disks import full_disk
from tests.kit.webhooks import until

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
ASKED = {"prompt": "a fox", "steps": 1, "size": "64x64"}
MANY = 1000
Post = Callable[[], Awaitable[httpx.Response]]


async def refusal(post: Post) -> httpx.Response:
    """The first answer that is no yes: a few small things may still find a place."""
    for _ in range(MANY):
        if not (answer := await post()).is_success:
            return answer
    raise AssertionError("there is room without end")


async def test_whatever_is_kept(tmp_path: Path) -> None:
    auth = Auth.model_validate(KEYED["auth"])
    built = build_rooms(
        Settings(data_directory=tmp_path / "data", loras=Loras(directory=tmp_path), auth=auth), colour_backend
    )
    application = _application(built, partial(_running_alone, built))
    transport, root = httpx.ASGITransport(app=application), {"authorization": "Bearer root"}
    async with (
        _running_alone(built),
        httpx.AsyncClient(transport=transport, base_url="http://gw", headers=root, timeout=60) as http,
    ):
        files = {"file": ("in.jsonl", request("a"))}
        posts: dict[str, Post] = {
            "file": partial(http.post, "/v1/files", data={"purpose": "batch"}, files=files),
            "key": partial(http.post, "/v1/admin/keys", json={"tenant": "art"}),
            "job": partial(http.post, GENERATE, json=ASKED, headers={"prefer": "respond-async"}),
            "picture": partial(http.post, GENERATE, json=ASKED | {"response_format": "url"}),
        }
        file = (await posts["file"]()).json()["id"]
        batch = {"input_file_id": file, "endpoint": GENERATE, "completion_window": "24h"}
        posts["batch"] = partial(http.post, "/v1/batches", json=batch)
        accepted = (await posts["job"]()).json()["id"]
        async with full_disk(built.persistence.database):
            answers = {name: await refusal(post) for name, post in posts.items()}
        again = {name: await post() for name, post in posts.items()}
        await until(partial(_completed, http, accepted))
    told = {name: (answer.status_code, answer.json()["error"]["code"]) for name, answer in answers.items()}
    assert told == dict.fromkeys(posts, (507, "storage_full"))
    assert {name: answer.is_success for name, answer in again.items()} == dict.fromkeys(posts, True)


async def _completed(http: httpx.AsyncClient, job_id: str) -> bool:
    return bool((await http.get(f"/v1/jobs/{job_id}")).json()["state"] == "completed")
