"""What callers do that others may ask about later is announced: who, what, to whose; and never a secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.core.events import Acted
from sdxl_gateway.storage.database import opened
from tests.kit.api import GENERATE, KEYED, ServedApi, client, served_api

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
        new = (await http.post(f"{KEYS}/{made['id']}/rotate")).json()
        await http.delete(f"{KEYS}/{new['id']}")
        await http.delete(f"{KEYS}/none")
    whole = [("key.created", made["id"], "art"), ("key.rotated", made["id"], "art"), ("key.revoked", new["id"], "art")]
    assert _done(served) == whole
    told = repr(served.told) + repr(served.seen)
    assert made["key"] not in told
    assert new["key"] not in told


async def test_loras_come_and_go() -> None:
    served = served_api(**KEYED)
    async with client(served, ROOT) as http:
        answer = await http.post(
            "/v1/loras?name=ink", content=b"abc", headers={"content-type": "application/octet-stream"}
        )
        await http.delete("/v1/loras/ink")
        await http.delete("/v1/loras/ink")
    assert answer.status_code == 201
    assert [(action, target) for action, target, _ in _done(served)] == [("lora.added", "ink"), ("lora.removed", "ink")]
    assert served.told[0].request_id == answer.headers["x-request-id"]  # type: ignore[union-attr]


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
