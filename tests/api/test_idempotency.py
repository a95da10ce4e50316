"""One Idempotency-Key, one picture: whoever asks again, and however often, is told what was answered."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from sdxl_gateway.api.asks.idempotency import fingerprint
from sdxl_gateway.api.endpoints.once import REPLAYED
from sdxl_gateway.core.ask import Ask, Operation, Upload
from sdxl_gateway.core.errors import StorageFull
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.idempotency import KeptReplies
from tests.kit.api import GENERATE
from tests.kit.pictures import PNG
from tests.kit.serving import served

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
KEY = {"idempotency-key": "k"}
SMALL = {"size": "64x64", "steps": 2, "response_format": "b64_json"}
TWO_KEYS = {"auth": {"api_keys": ["alpha", "beta"]}}


async def post(http: httpx.AsyncClient, prompt: str = "a", key: str | None = "k", **said: Any) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return await http.post(GENERATE, json=SMALL | {"prompt": prompt} | said, headers=headers)


async def painted(http: httpx.AsyncClient) -> float:
    """How many pictures the server has painted."""
    lines = (await http.get("/metrics")).text.splitlines()
    counts = [line for line in lines if line.startswith("sdxl_gateway_images_generated_total{")]
    return sum(float(line.split()[-1]) for line in counts)


async def test_fifty_at_once_paint_once(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        first = await asyncio.gather(*(post(http, "step-seconds=0.1") for _ in range(50)))
        assert sorted(answer.status_code for answer in first) == [200] + [409] * 49
        for answer in first:
            if answer.status_code == 409:
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["error"]["code"] == "idempotency_key_in_use"
        (picture,) = (answer.content for answer in first if answer.status_code == 200)
        again = await asyncio.gather(*(post(http, "step-seconds=0.1") for _ in range(50)))
        assert {(answer.status_code, answer.content, answer.headers[REPLAYED]) for answer in again} == {
            (200, picture, "true")
        }
        assert await painted(http) == 1


async def test_a_replay_survives_a_restart(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        first = await post(http)
    async with served(tmp_path) as http:
        again = await post(http)
        assert (again.content, again.headers[REPLAYED], await painted(http)) == (first.content, "true", 0)
        assert again.headers["content-type"] == first.headers["content-type"]
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert REPLAYED not in first.headers


async def test_another_body_under_the_key_is_refused_while_it_runs_and_after(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        running = asyncio.create_task(post(http, "step-seconds=0.1"))
        await asyncio.sleep(0.05)
        during, _ = await post(http, "another"), await running
        after = await post(http, "another")
        for answer in (during, after):
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_key_reused")
            assert answer.json()["error"]["param"] == "Idempotency-Key"
        assert await painted(http) == 1


async def test_equal_bodies_without_a_key_are_two_pictures(tmp_path: Path) -> None:
    async with served(tmp_path, results={"cache": "off"}) as http:
        await asyncio.gather(post(http, key=None, seed=7), post(http, key=None, seed=7))
        await post(http, key="one", seed=7)
        await post(http, key="two", seed=7)
        assert await painted(http) == 4


async def test_the_same_key_of_another_tenant_or_route_is_another_key(tmp_path: Path) -> None:
    async with served(tmp_path, **TWO_KEYS) as http:
        for key in ("alpha", "beta"):
            answer = await http.post(GENERATE, json=SMALL | {"prompt": key}, headers=KEY | {"api-key": key})
            assert (answer.status_code, REPLAYED in answer.headers) == (200, False)
        vary = {"image": ("a.png", io.BytesIO(PNG), "image/png")}
        answer = await http.post("/v1/images/variations", files=vary, headers=KEY | {"api-key": "alpha"})
        assert answer.status_code != 422


@pytest.mark.parametrize("prefix", ["/v1", "", "/openai/v1"])
async def test_a_route_is_one_route_however_its_address_is_spelled(tmp_path: Path, prefix: str) -> None:
    async with served(tmp_path) as http:
        await post(http)
        again = await http.post(f"{prefix}/images/generations", json=SMALL | {"prompt": "a"}, headers=KEY)
        assert again.headers[REPLAYED] == "true"


async def test_a_refusal_of_what_was_asked_is_replayed(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        first, again = await post(http, size="5000x5000"), await post(http, size="5000x5000")
        assert first.status_code == again.status_code == 400
        unresolved = [await post(http, "refused", sampler="nothing", key="other") for _ in range(2)]
    assert [REPLAYED in answer.headers for answer in unresolved] == [False, True]
    assert unresolved[0].content == unresolved[1].content
    assert unresolved[1].headers["content-type"] == "application/json"


@pytest.mark.parametrize("said", [{"prompt": "raise-in-step"}, {"model": "nothing"}, {"prompt": "<lora:nothing:1>"}])
async def test_what_may_be_otherwise_next_time_is_tried_again(tmp_path: Path, said: dict[str, Any]) -> None:
    async with served(tmp_path) as http:
        answers = [await post(http, **said) for _ in range(2)]
    assert all(answer.status_code >= 400 for answer in answers)
    assert not any(REPLAYED in answer.headers for answer in answers)


async def test_a_stream_is_replayed_as_its_last_event(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        streamed: dict[str, Any] = {"stream": True, "partial_images": 1, "steps": 6}
        first, again = await post(http, **streamed), await post(http, **streamed)
        assert await painted(http) == 1
    assert first.content.count(b"event: ") == 2
    assert again.content.startswith(b"event: image_generation.completed\n")
    assert first.content.endswith(again.content)
    assert again.headers[REPLAYED] == "true"
    assert again.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("stream", [False, True])
async def test_addresses_in_a_replay_are_good_from_then_on(tmp_path: Path, stream: bool) -> None:
    said: dict[str, Any] = {"response_format": "url", "stream": stream}
    async with served(tmp_path, delivery={"url_seconds": 60}) as http:
        first = (await post(http, **said)).text
    async with served(tmp_path, delivery={"url_seconds": 6000}) as http:
        again = (await post(http, **said)).text
        old, new = address(first), address(again)
        assert int(new["expires"]) - int(old["expires"]) > 5000
        assert first.rpartition("event: ")[2].replace(old["url"], "") == again.rpartition("event: ")[2].replace(
            new["url"], ""
        )
        assert (await http.get(new["url"])).status_code == 200
        await http.delete(f"/v1/images/{new['id']}")
        assert address((await post(http, **said)).text) == old


def address(reply: str) -> dict[str, str]:
    """What a reply tells of where its one picture is."""
    told = json.loads(reply[reply.rindex('{"type": "image_generation.completed') :] if "event: " in reply else reply)
    entry = told["data"][0] if "data" in told else told
    return {"id": entry["id"], "url": entry["url"], **dict(parse_qsl(urlsplit(entry["url"]).query))}


async def test_who_leaves_a_stream_may_ask_again(tmp_path: Path) -> None:
    """What was not painted to its end is painted anew, and the key is free meanwhile."""
    async with served(tmp_path) as http:
        slow = json.dumps(SMALL | {"prompt": "step-seconds=0.05", "steps": 100, "stream": True}).encode()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await http.post(GENERATE, content=slow, headers=KEY)
        again = await post(http, "something else")
    assert (again.status_code, REPLAYED in again.headers) == (200, False)


async def test_a_full_disk_costs_the_memory_and_not_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: BlobFolder, data: bytes) -> str:
        raise StorageFull("full")

    async with served(tmp_path) as http:
        with monkeypatch.context() as patch:
            patch.setattr(BlobFolder, "put", full)
            assert (await post(http)).status_code == 200
        answers = [await post(http) for _ in range(2)]
        assert [REPLAYED in answer.headers for answer in answers] == [False, True]


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256])
async def test_what_is_no_key_is_refused(tmp_path: Path, key: str) -> None:
    async with served(tmp_path) as http:
        headers = [(b"idempotency-key", key.encode())]
        answer = await http.post(GENERATE, json=SMALL | {"prompt": "a"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")


async def killed_before_it_answers(http: httpx.AsyncClient, prompt: str) -> None:
    """The job is accepted, and nobody hears of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeptReplies, "keep", _killed)
        assert (await post_for_later(http, prompt)).status_code == 500


async def _killed(*_: Any) -> None:
    raise SystemError("killed")


async def post_for_later(http: httpx.AsyncClient, prompt: str, **headers: str) -> httpx.Response:
    return await http.post(
        GENERATE, json=SMALL | {"prompt": prompt}, headers=KEY | {"prefer": "respond-async"} | headers
    )


async def ids(http: httpx.AsyncClient) -> list[str]:
    return [job["id"] for job in (await http.get("/v1/jobs")).json()["data"]]


async def test_a_job_whose_answer_reached_nobody_is_the_answer(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        await killed_before_it_answers(http, "a")
    async with served(tmp_path) as http:
        answers = [await post_for_later(http, "a") for _ in range(2)]
        (job,) = await ids(http)
        for answer in answers:
            assert (answer.status_code, answer.json()["id"], answer.headers[REPLAYED]) == (202, job, "true")
            assert answer.headers["location"] == f"/v1/jobs/{job}"
        others = [await post_for_later(http, "b"), await post_for_later(http, "a", prefer=""), await post(http, "a")]
        assert [one.json()["error"]["code"] for one in others] == ["idempotency_key_reused"] * 3
        assert 'replies_total{outcome="replayed"} 2.0' in (await http.get("/metrics")).text


async def test_a_job_is_its_keys_for_as_long_as_a_reply_would_be(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        await killed_before_it_answers(http, "a")
    async with served(tmp_path, idempotency={"keep_seconds": 1e-3}) as http:
        answer = await post_for_later(http, "a")
        assert (answer.status_code, REPLAYED in answer.headers, len(await ids(http))) == (202, False, 2)


async def test_a_replay_is_not_charged(tmp_path: Path) -> None:
    async with served(tmp_path, tenant_defaults={"requests_per_minute": 1}) as http:
        assert [(await post(http)).status_code for _ in range(3)] == [200] * 3
        assert (await post(http, key="another")).status_code == 429


async def test_json_and_a_form_may_ask_for_the_same(tmp_path: Path) -> None:
    picture = "data:image/png;base64," + base64.b64encode(PNG).decode()
    said = {"prompt": "a", "size": "64x64", "steps": 2}
    async with served(tmp_path) as http:
        await http.post("/v1/images/edits", json=said | {"image": picture}, headers=KEY)
        form = {"image": ("a.png", io.BytesIO(PNG), "image/png")}
        texts = {name: str(value) for name, value in said.items()}
        again = await http.post("/v1/images/edits", data=texts, files=form, headers=KEY)
    assert again.headers[REPLAYED] == "true", again.text


def test_whatever_is_asked_changes_the_fingerprint() -> None:
    ask = Ask(Operation.EDIT, "a", images=(Upload("image", b"one"),))
    others = [
        Ask(Operation.EDIT, "b", images=ask.images),
        Ask(Operation.VARY, "a", images=ask.images),
        Ask(Operation.EDIT, "a", images=(Upload("image", b"two"),)),
        Ask(Operation.EDIT, "a", images=ask.images, mask=Upload("mask", b"one")),
        Ask(Operation.EDIT, "a", images=ask.images, seed=1),
        Ask(Operation.EDIT, "a", images=ask.images, n=2),
    ]
    marks = {fingerprint(one, {}) for one in (ask, *others)}
    assert len(marks) == 1 + len(others)
    assert fingerprint(Ask(Operation.EDIT, "a", images=(Upload("image", b"one"),)), {}) in marks
    assert fingerprint(ask, {"prefer": "respond-async"}) not in marks
