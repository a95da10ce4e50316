"""What callers do that others may ask about later is announced: who, what, to whose; and never a secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.events import Acted
from sdxl_gateway.storage.database import opened
from tests.kit.api import GENERATE, KEYED, FakeGateway, ServedApi, client, served_api
from tests.kit.batches import batch_kit, request
from tests.kit.gateway import ask

ROOT = {"authorization": "Bearer root"}
KEYS = "/v1/admin/keys"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    with opened(tmp_path) as database:
        yield KeyStore(database, lambda: b"pepper")


def _done(served: ServedApi) -> list[tuple[str, str, str]]:
    return [(one.action, one.target, one.tenant) for one in served.told if isinstance(one, Acted)]


async def test_a_keys_life(store: KeyStore) -> None:
    served = served_api(keys=store, **KEYED)
    async with client(served, ROOT) as http:
        made = (await http.post(KEYS, json={"tenant": "art"})).json()
        await http.post(f"{KEYS}/{made['id']}", json={"safety": "flag", "name": "posters"})
        await http.post(f"{KEYS}/{made['id']}", json={"roles": ["admin"]})
        new = (await http.post(f"{KEYS}/{made['id']}/rotate")).json()
        await http.delete(f"{KEYS}/{new['id']}")
        await http.delete(f"{KEYS}/none")
    whole = [("key.created", made), ("key.updated", made), ("key.rotated", made), ("key.revoked", new)]
    assert _done(served) == [(action, key["id"], "art") for action, key in whole]
    assert [one.about for one in served.told if isinstance(one, Acted)][1] == {"fields": "name safety"}
    told = repr(served.told) + repr(served.seen)
    assert made["key"] not in told
    assert new["key"] not in told


async def test_loras_come_and_go() -> None:
    served = served_api(**KEYED)
    async with client(served, ROOT) as http:
        answer = await http.post(
            "/v1/loras?name=ink", content=b"abc", headers={"content-type": "application/octet-stream"}
        )
        await http.post("/v1/loras/ink", json={"weight": 0.5, "description": None})
        await http.delete("/v1/loras/ink")
        await http.delete("/v1/loras/ink")
    assert answer.status_code == 201
    assert [(action, target) for action, target, _ in _done(served)] == [
        ("lora.added", "ink"),
        ("lora.changed", "ink"),
        ("lora.removed", "ink"),
    ]
    added, changed, _ = (one for one in served.told if isinstance(one, Acted))
    assert changed.about == {"fields": "description weight"}
    assert added.request_id == answer.headers["x-request-id"]


async def test_checkpoints_are_described_and_go() -> None:
    served = served_api(**KEYED)
    async with client(served, ROOT) as http:
        await http.post("/v1/checkpoints/demo", json={"steps": 8, "clip_skip": None})
        await http.post("/v1/checkpoints/none", json={"steps": 8})
        await http.delete("/v1/checkpoints/none")
        await http.delete("/v1/checkpoints/demo")
    changed, removed = (one for one in served.told if isinstance(one, Acted))
    assert (changed.action, changed.target, changed.about) == (
        "checkpoint.changed",
        "demo",
        {"fields": "clip_skip steps"},
    )
    assert (removed.action, removed.target) == ("checkpoint.removed", "demo")


async def test_what_a_tenant_ends_or_begins(tmp_path: Path) -> None:
    """A job of another tenant that an operator ends is told as that tenant's."""
    line = request("a", prompt="a fox")
    async with batch_kit(tmp_path, FakeGateway()) as kit:
        served = served_api(files=kit.files, batches=kit.batches, tasks=kit.tasks, **KEYED)
        job = await kit.tasks.submit(ask("a fox"), Caller(tenant="art"))
        async with client(served, ROOT) as http:
            sent = await http.post("/v1/files", files={"file": ("in.jsonl", line)}, data={"purpose": "batch"})
            file = sent.json()["id"]
            body = {"input_file_id": file, "endpoint": "/v1/images/generations", "completion_window": "24h"}
            batch = (await http.post("/v1/batches", json=body)).json()["id"]
            await http.post(f"/v1/batches/{batch}/cancel")
            await http.post(f"/v1/jobs/{job.id}/cancel")
            await http.delete(f"/v1/files/{file}")
            for nothing in ("/v1/batches/batch_1/cancel", "/v1/jobs/job_1/cancel"):
                assert (await http.post(nothing)).status_code == 404
            assert (await http.delete("/v1/files/file-1")).status_code == 404
    done = _done(served)
    own = done[0][2]
    assert done == [
        ("batch.created", batch, own),
        ("batch.cancelled", batch, own),
        ("job.cancelled", job.id, "art"),
        ("file.deleted", file, own),
    ]


@pytest.mark.parametrize(
    ("verb", "path", "acting"),
    [("POST", GENERATE, True), ("GET", "/v1/models", False), ("GET", KEYS, True), ("HEAD", "/healthz", False)],
)
async def test_what_acts_is_told_from_what_looks(store: KeyStore, verb: str, path: str, acting: bool) -> None:
    served = served_api(keys=store, **KEYED)
    async with client(served, ROOT) as http:
        await http.request(verb, path, json={"prompt": "a"} if verb == "POST" else None)
    assert [one.acting for one in served.seen] == [acting]


async def test_an_answer_names_the_key_and_the_error(store: KeyStore) -> None:
    served = served_api(keys=store, **KEYED)
    async with client(served, ROOT) as http:
        made = (await http.post(KEYS, json={"tenant": "art"})).json()
        await http.get(KEYS, headers={"authorization": f"Bearer {made['key']}"})
    answered = served.seen[-1]
    assert (answered.key_id, answered.tenant, answered.code) == (made["id"], "art", "permission_denied")
