"""Operators make keys over HTTP, list, change, rotate and revoke them; nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.core.allowance import Allowance
from sdxl_gateway.storage.database import opened
from tests.kit.api import GENERATE, KEYED, client, served_api

ROOT = {"authorization": "Bearer root"}
KEYS = "/v1/admin/keys"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    with opened(tmp_path) as database:
        yield KeyStore(database, lambda: b"pepper")


@pytest.fixture
async def http(store: KeyStore) -> AsyncIterator[httpx.AsyncClient]:
    async with client(served_api(keys=store, **KEYED), ROOT) as made:
        yield made


async def created(http: httpx.AsyncClient, **grant: Any) -> dict[str, Any]:
    answer = await http.post(KEYS, json={"tenant": "art", **grant})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_key_is_told_once_and_opens(http: httpx.AsyncClient) -> None:
    made = await created(http, name="posters", models=["demo"], priority="low", expires_in=3600, safety="flag")
    again = (await http.get(f"{KEYS}/{made['id']}")).json()
    assert {**again, "key": made["key"]} == made
    assert (made["roles"], made["loras"], made["expires_at"] - made["created_at"]) == (["generate"], ["*"], 3600)
    assert (made["safety"], (await created(http))["safety"]) == ("flag", None)
    for headers in ({"authorization": f"Bearer {made['key']}"}, {"api-key": made["key"]}, {"x-api-key": made["key"]}):
        answer = await http.post(GENERATE, json={"prompt": "a"}, headers={"authorization": "", **headers})
        assert answer.status_code == 200


async def test_a_revoked_key_is_turned_away_at_once(http: httpx.AsyncClient) -> None:
    made = await created(http)
    gone = await http.delete(f"{KEYS}/{made['id']}")
    assert (gone.status_code, gone.json()["revoked_at"] is not None) == (200, True)
    answer = await http.post(GENERATE, json={"prompt": "a"}, headers={"authorization": f"Bearer {made['key']}"})
    assert answer.status_code == 401


async def test_a_rotated_key_and_its_successor_both_open(http: httpx.AsyncClient) -> None:
    made = await created(http)
    new = (await http.post(f"{KEYS}/{made['id']}/rotate")).json()
    for key in (made["key"], new["key"]):
        answer = await http.get("/v1/models", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200
    assert (await http.get(f"{KEYS}/{made['id']}")).json()["successor"] == new["id"]
    at_once = (await http.post(f"{KEYS}/{new['id']}/rotate", json={"grace_seconds": 0})).json()
    assert (await http.get("/v1/models", headers={"authorization": f"Bearer {new['key']}"})).status_code == 401
    assert (await http.get("/v1/models", headers={"authorization": f"Bearer {at_once['key']}"})).status_code == 200


CHANGES: dict[str, tuple[Any, Any, Any]] = {
    "name": ("posters", "posters", ""),
    "models": (["ink*"], ["ink*"], ["*"]),
    "loras": (["ink"], ["ink"], ["*"]),
    "priority": ("low", "low", "normal"),
    "limits": ({"max_n": 2}, {"max_n": 2, "max_steps": 9}, {"max_steps": 9}),
    "safety": ("flag", "flag", None),
    "webhook_url": ("https://example.com/a", "https://example.com/a", None),
}
"""What is sent, what the key has then, and what it had before."""


async def test_what_is_given_changes_and_nothing_else(http: httpx.AsyncClient) -> None:
    made = await created(http, limits={"max_steps": 9})
    del made["key"]
    url = f"{KEYS}/{made['id']}"
    assert (await http.post(url, json={})).json() == made
    for name, (sent, has, had) in CHANGES.items():
        assert made[name] == had
        made |= {name: has}
        answer = await http.post(url, json={name: sent})
        assert (answer.status_code, answer.json()) == (200, made)
    assert (await http.get(url)).json() == made
    ends = (await http.post(url, json={"expires_in": 3600, "limits": {"max_n": 0}})).json()
    assert 0 <= ends["expires_at"] - made["created_at"] - 3600 < 60
    assert ends["limits"] == {"max_steps": 9}
    nothing = dict.fromkeys(("models", "limits", "safety", "webhook_url", "expires_in"))
    cleared = (await http.post(url, json=nothing)).json()
    shown = [cleared[name] for name in ("models", "limits", "safety", "webhook_url", "expires_at")]
    assert shown == [["*"], {}, None, None, None]
    assert cleared["loras"] == ["ink"]


async def test_a_change_holds_for_the_next_request_here_and_in_other_processes(
    http: httpx.AsyncClient, store: KeyStore, tmp_path: Path
) -> None:
    made = await created(http)
    with opened(tmp_path) as database:
        other = KeyStore(database, lambda: b"pepper")
        await other.load()
        await http.post(f"{KEYS}/{made['id']}", json={"models": ["ink*"], "limits": {"max_n": 2}})
        following = asyncio.create_task(other.following())
        await asyncio.sleep(0.1)
        following.cancel()
        for keys in (store, other):
            holder = keys.holder(made["key"].encode())
            assert holder is not None
            assert (holder.caller.sees_model("demo"), holder.caller.limits) == (False, Allowance(max_n=2))


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"tenant": "ops"}, "tenant"),
        ({"roles": ["admin"]}, "roles"),
        ({"models": []}, "models"),
        ({"limits": {"max": 1}}, "limits.max"),
        ({"priority": None}, "priority"),
        ({"expires_in": 0}, "expires_in"),
        ({"webhook_url": "ftp://a"}, "webhook_url"),
    ],
)
async def test_what_cannot_change_is_refused_and_changes_nothing(
    http: httpx.AsyncClient, said: dict[str, Any], param: str
) -> None:
    made = await created(http)
    answer = await http.post(f"{KEYS}/{made['id']}", json={"name": "new", **said})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert (await http.get(f"{KEYS}/{made['id']}")).json()["name"] == ""


async def test_a_key_that_is_gone_or_replaced_does_not_change(http: httpx.AsyncClient) -> None:
    revoked, rotated = await created(http), await created(http)
    await http.delete(f"{KEYS}/{revoked['id']}")
    await http.post(f"{KEYS}/{rotated['id']}/rotate")
    ids = (revoked["id"], rotated["id"], "key_none")
    answers = [await http.post(f"{KEYS}/{one}", json={"expires_in": 1e6}) for one in ids]
    assert [answer.status_code for answer in answers] == [400, 400, 404]


async def test_pages_hold_every_key_once(http: httpx.AsyncClient) -> None:
    for place in range(7):
        await created(http, tenant="even" if place % 2 == 0 else "odd", name=str(place))
    names, after, pages = [], None, 0
    while True:
        query = {"limit": 3} | ({"after": after} if after else {})
        page = (await http.get(KEYS, params=query)).json()
        names += [key["name"] for key in page["data"]]
        after, pages = page["last_id"], pages + 1
        if not page["has_more"]:
            break
    assert (sorted(names), pages) == ([str(place) for place in range(7)], 3)
    odd = (await http.get(KEYS, params={"tenant": "odd"})).json()
    assert [key["name"] for key in odd["data"]] == ["1", "3", "5"]
    assert "key" not in odd["data"][0]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "tenant"),
        ({"tenant": " "}, "tenant"),
        ({"tenant": 1}, "tenant"),
        ({"tenant": "a" * 65}, "tenant"),
        ({"tenant": "a", "roles": ["root"]}, "roles[0]"),
        ({"tenant": "a", "roles": []}, "roles"),
        ({"tenant": "a", "roles": "admin"}, "roles"),
        ({"tenant": "a", "models": [""]}, "models[0]"),
        ({"tenant": "a", "loras": ["x" * 201]}, "loras[0]"),
        ({"tenant": "a", "loras": ["x"] * 257}, "loras"),
        ({"tenant": "a", "priority": "urgent"}, "priority"),
        ({"tenant": "a", "safety": "none"}, "safety"),
        ({"tenant": "a", "expires_in": 0}, "expires_in"),
        ({"tenant": "a", "expires_in": 1e12}, "expires_in"),
        ({"tenant": "a", "expires_in": "soon"}, "expires_in"),
        ({"tenant": "a", "name": "\0"}, "name"),
        ({"tenant": "a", "rolls": ["admin"]}, "rolls"),
    ],
    ids=str,
)
async def test_a_grant_that_cannot_be_names_its_field(http: httpx.AsyncClient, body: Any, param: str) -> None:
    answer = await http.post(KEYS, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert (await http.get(KEYS)).json()["data"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=many", "after=key_none"])
async def test_a_page_that_cannot_be(http: httpx.AsyncClient, query: str) -> None:
    answer = await http.get(f"{KEYS}?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, query.partition("=")[0])


@pytest.mark.parametrize(
    ("verb", "path"), [("GET", "/key_none"), ("DELETE", "/key_none"), ("POST", "/key_none/rotate")]
)
async def test_an_unknown_key(http: httpx.AsyncClient, verb: str, path: str) -> None:
    answer = await http.request(verb, KEYS + path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "key_not_found")


async def test_a_key_that_paints_makes_no_keys(http: httpx.AsyncClient) -> None:
    made = await created(http, roles=["generate", "manage-loras", "metrics"])
    headers = {"authorization": f"Bearer {made['key']}"}
    for verb, path in [("GET", ""), ("POST", ""), ("GET", "/x"), ("DELETE", "/x"), ("POST", "/x/rotate")]:
        assert (await http.request(verb, KEYS + path, headers=headers)).status_code == 403
