"""A job is answered for, followed and cancelled at any gateway, whichever accepted it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr

from tests.kit.api import GENERATE
from tests.kit.redis_server import RedisServer
from tests.kit.serving import served
from tests.kit.sharing import eventually

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
SMALL = {"size": "64x64", "steps": 4, "response_format": "b64_json"}
Http = httpx.AsyncClient
Two = tuple[Http, Http]


@pytest.fixture
async def gateways(redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    """Clients of two, which look at each other often."""
    for module in ("fleet.jobs", "jobs_elsewhere"):
        monkeypatch.setattr(f"sdxl_gateway.gateway.{module}.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.02)
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(served(tmp_path / name, **redis.sections)) for name in "ab"]
        yield a, b


async def submitted(http: Http, prompt: str = "a", **said: Any) -> str:
    """The job's id."""
    answer = await http.post(GENERATE, json=SMALL | {"prompt": prompt} | said, headers={"prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    return cast(str, answer.json()["id"])


async def stands(http: Http, job_id: str, *states: str) -> dict[str, Any]:
    """The job once it is in one of these states there."""
    told: dict[str, Any] = {}

    async def holds() -> bool:
        nonlocal told
        answer = await http.get(f"/v1/jobs/{job_id}")
        told = answer.json()
        return answer.status_code == 200 and told["state"] in states

    assert await eventually(holds), told
    return told


def events(text: str) -> list[tuple[str, str | None]]:
    """Each event's name and id."""
    lines = [frame.splitlines() for frame in text.replace("\r\n", "\n").split("\n\n")]
    frames = [dict(line.split(": ", 1) for line in frame if ": " in line) for frame in lines]
    return [(frame["event"], frame.get("id")) for frame in frames if "event" in frame]


async def test_a_job_is_answered_for_at_the_other_gateway(gateways: Two) -> None:
    a, b = gateways
    job_id = await submitted(a)
    there, here = await stands(b, job_id, "completed"), await stands(a, job_id, "completed")
    assert there == here
    assert here["result"]["data"][0]["b64_json"]
    assert (await b.get("/v1/jobs/job_000000000000000000000000")).status_code == 404


async def test_it_is_followed_there_and_resumed_by_the_last_id(gateways: Two) -> None:
    a, b = gateways
    job_id = await submitted(a, "step-seconds=0.05", steps=8, partial_images=2)
    await stands(b, job_id, "queued", "in_progress", "completed")
    whole = events((await b.get(f"/v1/jobs/{job_id}/events")).text)
    names = [name for name, _ in whole]
    assert names[-1] == "job.completed"
    assert "job.partial_image" in names
    numbered = [one for one in whole if one[1] not in (None, "last")]
    rest = await b.get(f"/v1/jobs/{job_id}/events", headers={"last-event-id": cast(str, numbered[-2][1])})
    assert events(rest.text) == [numbered[-1], whole[-1]]
    assert (await b.get(f"/v1/jobs/{job_id}/events", headers={"last-event-id": "last"})).status_code == 204


async def test_a_running_job_tells_how_far_it_is_there(gateways: Two) -> None:
    a, b = gateways
    job_id = await submitted(a, "step-seconds=0.2", steps=50)
    await stands(b, job_id, "in_progress")

    async def moves() -> bool:
        told = (await b.get(f"/v1/jobs/{job_id}")).json()
        (listed,) = (await b.get("/v1/jobs")).json()["data"]
        moving = told["state"] == listed["state"] == "in_progress"
        return bool(moving and told["step"] > 0 and told["steps"] == listed["steps"] == 50)

    assert await eventually(moves)
    ended = await b.post(f"/v1/jobs/{job_id}/cancel")
    assert (ended.status_code, ended.json()["state"]) == (200, "cancelled")
    assert (await a.get(f"/v1/jobs/{job_id}")).json()["state"] == "cancelled"
    again = await b.post(f"/v1/jobs/{job_id}/cancel")
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")


async def test_what_redis_lost_is_told_again(gateways: Two, redis: RedisServer) -> None:
    a, b = gateways
    job_id = await submitted(a, "step-seconds=0.2", steps=50)
    await stands(b, job_id, "in_progress")
    redis.stop()

    async def unavailable() -> bool:
        return (await b.get(f"/v1/jobs/{job_id}")).status_code == 503

    assert await eventually(unavailable)
    assert (await a.get(f"/v1/jobs/{job_id}")).status_code == 200
    accepted = await submitted(a)
    await stands(a, accepted, "queued", "in_progress", "completed")
    redis.start()
    await stands(b, job_id, "in_progress")
    await stands(b, accepted, "completed")
    await b.post(f"/v1/jobs/{job_id}/cancel")


async def test_a_job_of_another_tenant_is_not_there(redis: RedisServer, tmp_path: Path) -> None:
    keys = {"auth": redis.sections["auth"].model_copy(update={"api_keys": (SecretStr("alpha"), SecretStr("beta"))})}
    sections = redis.sections | keys
    async with served(tmp_path / "a", **sections) as a, served(tmp_path / "b", **sections) as b:
        for http in (a, b):
            http.headers["api-key"] = "alpha"
        job_id = await submitted(a)
        await stands(b, job_id, "completed")
        for path in ("", "/events"):
            assert (await b.get(f"/v1/jobs/{job_id}{path}", headers={"api-key": "beta"})).status_code == 404
        assert (await b.post(f"/v1/jobs/{job_id}/cancel", headers={"api-key": "beta"})).status_code == 404
