"""Requests that are answered with a job, and what can be asked of jobs."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.core.caller import Caller, Role
from sdxl_gateway.core.errors import InvalidImage
from sdxl_gateway.core.stored_job import JobState
from sdxl_gateway.gateway.tasks import Tasks
from tests.kit.api import GENERATE, FakeGateway, client, served_api
from tests.kit.images import stored
from tests.kit.pictures import DATA_URL, PNG
from tests.kit.stored_jobs import kept_tasks, painting

ADMIN = Caller(roles=frozenset({Role.ADMIN}))
ASYNC = {"prefer": "respond-async"}
ALPHA, BETA, ROOT = ({"authorization": f"Bearer {key}"} for key in ("alpha", "beta", "root"))
KEYS: dict[str, Any] = {"auth": {"api_keys": ["alpha", "beta"], "admin_keys": ["root"]}}


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
async def tasks(tmp_path: Path, gateway: FakeGateway) -> AsyncIterator[Tasks]:
    async with kept_tasks(tmp_path, gateway) as kept:
        yield kept


@pytest.fixture
async def http(gateway: FakeGateway, tasks: Tasks) -> AsyncIterator[httpx.AsyncClient]:
    """Everybody's server; its store holds the first picture of those that the fake gateway says it painted."""
    served = served_api(gateway, tasks=tasks)
    served.images.kept[stored(0)] = PNG
    async with client(served) as made:
        yield made


@pytest.fixture
async def keyed(gateway: FakeGateway, tasks: Tasks) -> AsyncIterator[httpx.AsyncClient]:
    async with client(served_api(gateway, tasks=tasks, **KEYS)) as made:
        yield made


async def accepted(http: httpx.AsyncClient, headers: dict[str, str] | None = None, **said: Any) -> dict[str, Any]:
    answer = await http.post(GENERATE, json={"prompt": "a fox", **said}, headers=ASYNC | (headers or {}))
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def painted(http: httpx.AsyncClient, tasks: Tasks, **said: Any) -> dict[str, Any]:
    job = await accepted(http, **said)
    async with painting(tasks):
        await _over(tasks, job["id"])
    found: dict[str, Any] = (await http.get(f"/v1/jobs/{job['id']}")).json()
    return found


async def _over(tasks: Tasks, job_id: str) -> None:
    """Whoever's it is; the tests' own caller is no admin."""
    for _ in range(5000):
        found = await tasks.get(job_id, Caller(roles=frozenset({Role.ADMIN})))
        if found.job.state.over:
            return
        await asyncio.sleep(0.002)


async def test_accepted_is_202_with_the_jobs_address(http: httpx.AsyncClient) -> None:
    answer = await http.post(GENERATE, json={"prompt": "a fox", "zzz": 1}, headers=ASYNC)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert answer.headers["x-sdxl-gateway-ignored"] == "zzz"
    assert (job["object"], job["state"], job["position"], job["operation"]) == ("job", "queued", 0, "generate")
    assert (job["result"], job["error"], job["preview"], job["attempts"]) == (None, None, None, 0)
    assert (await http.get(answer.headers["location"])).json() == job


@pytest.mark.parametrize("said", ["respond-async", "wait=10, Respond-Async", "respond-async; x=1, handling=lenient"])
async def test_however_it_is_said(http: httpx.AsyncClient, said: str) -> None:
    assert (await http.post(GENERATE, json={"prompt": "a"}, headers={"prefer": said})).status_code == 202


@pytest.mark.parametrize("said", ["", "wait=10", "no-respond-async", "return=minimal"])
async def test_said_otherwise_it_is_answered_at_once(http: httpx.AsyncClient, said: str) -> None:
    assert (await http.post(GENERATE, json={"prompt": "a"}, headers={"prefer": said})).status_code == 200


@pytest.mark.parametrize(
    ("route", "body"),
    [("edits", {"prompt": "a fox", "image": DATA_URL}), ("variations", {"image": DATA_URL})],
)
async def test_edits_and_variations_too(http: httpx.AsyncClient, route: str, body: dict[str, Any]) -> None:
    answer = await http.post(f"/v1/images/{route}", json=body, headers=ASYNC)
    assert (answer.status_code, answer.json()["operation"]) == (202, {"edits": "edit", "variations": "vary"}[route])


async def test_the_result_is_the_images_reply(http: httpx.AsyncClient, tasks: Tasks) -> None:
    now = await http.post(GENERATE, json={"prompt": "a fox", "seed": 5})
    job = await painted(http, tasks, seed=5)
    same = ("usage", "size", "quality", "output_format", "background")
    assert (job["state"], job["attempts"], job["position"]) == ("completed", 1, None)
    assert {name: job["result"][name] for name in same} == {name: now.json()[name] for name in same}
    assert job["result"]["data"] == now.json()["data"]
    assert job["result"]["created"] == job["finished_at"]


async def test_handed_out_as_was_asked(http: httpx.AsyncClient, tasks: Tasks) -> None:
    (by_address,) = (await painted(http, tasks, response_format="url"))["result"]["data"]
    (as_data,) = (await painted(http, tasks, response_format="b64_json"))["result"]["data"]
    (openais,) = (await painted(http, tasks, model="gpt-image-1"))["result"]["data"]
    assert by_address["url"].startswith(f"http://gw/files/{0:032x}.png?expires=")
    assert "b64_json" not in by_address
    assert base64.b64decode(as_data["b64_json"]) == base64.b64decode(openais["b64_json"]) == PNG
    assert "url" not in as_data | openais


async def test_a_picture_that_is_not_kept_any_more(http: httpx.AsyncClient, tasks: Tasks) -> None:
    """The second of two was never there."""
    first, second = (await painted(http, tasks, n=2))["result"]["data"]
    assert "b64_json" in first
    assert "b64_json" not in second
    assert (await http.get(second["url"])).status_code == 410


async def test_a_failure_is_told_as_an_error_is(http: httpx.AsyncClient, tasks: Tasks, gateway: FakeGateway) -> None:
    gateway.error = InvalidImage("It is torn.", param="image")
    job = await painted(http, tasks)
    assert (job["state"], job["result"]) == ("failed", None)
    assert job["error"] == {
        "message": "It is torn.",
        "type": "image_generation_user_error",
        "param": "image",
        "code": "invalid_image_file",
    }


async def test_a_job_is_not_streamed(http: httpx.AsyncClient) -> None:
    answer = await http.post(GENERATE, json={"prompt": "a", "stream": True}, headers=ASYNC)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream")


async def test_background_says_what_is_behind_the_subject_and_nothing_else(http: httpx.AsyncClient) -> None:
    answer = await http.post(GENERATE, json={"prompt": "a", "background": True})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "background")


async def test_cancelled(http: httpx.AsyncClient) -> None:
    job = await accepted(http)
    answer = await http.post(f"/v1/jobs/{job['id']}/cancel")
    told = answer.json()
    assert (answer.status_code, told["state"], told["error"]["code"]) == (
        200,
        "cancelled",
        "cancelled",
    )
    assert (await http.post(f"/v1/jobs/{job['id']}/cancel")).json() == told


async def test_page_by_page_the_latest_first(http: httpx.AsyncClient) -> None:
    ids = [(await accepted(http))["id"] for _ in range(5)]
    first = (await http.get("/v1/jobs?limit=2")).json()
    assert ([job["id"] for job in first["data"]], first["has_more"]) == ([ids[4], ids[3]], True)
    rest = (await http.get("/v1/jobs", params={"after": first["last_id"], "limit": 3})).json()
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == ([ids[2], ids[1], ids[0]], False)
    assert (await http.get("/v1/jobs?after=job_x")).json()["error"]["param"] == "after"


async def test_by_state(http: httpx.AsyncClient) -> None:
    first, second = await accepted(http), await accepted(http)
    await http.post(f"/v1/jobs/{first['id']}/cancel")
    for state, wanted in (("cancelled", first), ("queued", second)):
        found = (await http.get("/v1/jobs", params={"state": state})).json()["data"]
        assert [job["id"] for job in found] == [wanted["id"]]
    assert (await http.get("/v1/jobs?state=lost")).json()["error"]["param"] == "state"


@pytest.mark.parametrize(("verb", "path"), [("GET", ""), ("POST", "/cancel"), ("GET", "/events")])
async def test_another_tenants_job_is_answered_as_none(keyed: httpx.AsyncClient, verb: str, path: str) -> None:
    job = await accepted(keyed, ALPHA)
    theirs = await keyed.request(verb, f"/v1/jobs/{job['id']}{path}", headers=BETA)
    none = await keyed.request(verb, f"/v1/jobs/job_x{path}", headers=BETA)
    assert (theirs.status_code, theirs.json()) == (none.status_code, none.json())
    assert (none.status_code, none.json()["error"]["code"]) == (404, "job_not_found")


async def test_each_sees_its_own_and_an_admin_all(keyed: httpx.AsyncClient) -> None:
    mine, theirs = await accepted(keyed, ALPHA), await accepted(keyed, BETA)
    for headers, wanted in ((ALPHA, [mine]), (BETA, [theirs]), (ROOT, [theirs, mine])):
        found = (await keyed.get("/v1/jobs", headers=headers)).json()["data"]
        assert [job["id"] for job in found] == [job["id"] for job in wanted]
    of_one = await keyed.get("/v1/jobs", params={"tenant": mine["tenant"]}, headers=ROOT)
    assert [job["id"] for job in of_one.json()["data"]] == [mine["id"]]
    assert (await keyed.get("/v1/jobs?tenant=x", headers=ALPHA)).status_code == 403
    assert (await keyed.get("/v1/jobs", params={"after": theirs["id"]}, headers=ALPHA)).status_code == 400


async def test_a_tenant_with_too_many(tmp_path: Path, gateway: FakeGateway) -> None:
    async with (
        kept_tasks(tmp_path, gateway, waiting_per_tenant=2) as tasks,
        client(served_api(gateway, tasks=tasks)) as http,
    ):
        for _ in range(2):
            await accepted(http)
        answer = await http.post(GENERATE, json={"prompt": "a"}, headers=ASYNC)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_jobs")
    assert answer.headers["retry-after"] == "120"


async def events(http: httpx.AsyncClient, job_id: str, last: str | None = None) -> list[dict[str, Any]]:
    headers = {} if last is None else {"last-event-id": last}
    answer = await http.get(f"/v1/jobs/{job_id}/events", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [_event(frame) for frame in answer.text.split("\n\n") if frame and not frame.startswith(":")]


def _event(frame: str) -> dict[str, Any]:
    fields = dict(line.split(": ", 1) for line in frame.split("\n"))
    return {"id": fields.get("id"), "event": fields["event"], **json.loads(fields["data"])}


async def test_followed_to_its_end(http: httpx.AsyncClient, tasks: Tasks) -> None:
    job = await accepted(http, partial_images=2)
    following = asyncio.create_task(events(http, job["id"]))
    await asyncio.sleep(0.02)
    async with painting(tasks):
        told = await following
    names = [one["event"] for one in told]
    assert names == ["job.queued", "job.partial_image", "job.partial_image", "job.completed"]
    assert [one["id"] for one in told] == [None, "1-1", "1-2", "last"]
    assert (told[0]["position"], told[1]["job_id"]) == (0, job["id"])
    assert base64.b64decode(told[1]["b64_json"]) == PNG
    assert told[-1]["job"]["result"] == (await http.get(f"/v1/jobs/{job['id']}")).json()["result"]


async def test_whoever_saw_the_end_is_told_to_stay_away(http: httpx.AsyncClient, tasks: Tasks) -> None:
    job = await painted(http, tasks)
    (told,) = await events(http, job["id"], last="1-1")
    assert (told["event"], told["id"], told["job"]["state"]) == ("job.completed", "last", JobState.COMPLETED)
    answer = await http.get(f"/v1/jobs/{job['id']}/events", headers={"last-event-id": "last"})
    assert (answer.status_code, answer.content) == (204, b"")
