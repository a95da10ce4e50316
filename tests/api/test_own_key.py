"""Tests api/endpoints/own_key.py: who asks is told what the key is good for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.keys import KeyGrant
from sdxl_gateway.core.caller import Role
from sdxl_gateway.storage.database import opened
from tests.kit.api import KEYED, client, served_api


@pytest.mark.parametrize(("key", "roles"), [("alpha", ["generate", "metrics"]), ("root", ["admin"])])
async def test_a_key_of_the_settings(key: str, roles: list[str]) -> None:
    async with client(served_api(**KEYED), {"api-key": key}) as http:
        told = (await http.get("/v1/key")).json()
    assert told == {"object": "key", "tenant": told["tenant"], "roles": roles, "models": ["*"], "loras": ["*"]}
    assert told["tenant"].startswith("key-")


async def test_anybody_where_no_key_is_needed() -> None:
    async with client(served_api()) as http:
        told = (await http.get("/v1/key")).json()
    assert (told["tenant"], told["roles"]) == ("anonymous", ["generate", "metrics"])


async def test_a_key_that_was_made(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        store = KeyStore(database, lambda: b"pepper")
        roles = frozenset({Role.GENERATE, Role.MANAGE_LORAS})
        text, _ = await store.create(KeyGrant("art", roles=roles, loras=("ink*",)))
        async with client(served_api(keys=store, **KEYED), {"api-key": text}) as http:
            told = (await http.get("/v1/key")).json()
    assert (told["tenant"], told["roles"], told["loras"]) == ("art", ["generate", "manage-loras"], ["ink*"])
