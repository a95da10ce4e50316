"""Who may use which route: every kind of caller against every row of the table, in each of its spellings.

Whose things they see there is told in tests/api/test_other_tenants.py.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.keys import KeyGrant
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.core.caller import Role
from sdxl_gateway.storage.database import opened
from tests.kit.api import KEYED, client, served_api

PROTECTED = {"auth": KEYED["auth"] | {"protect_metrics": True}}
ROWS = served_api(**PROTECTED).rows
ROLES = {
    "owner": {Role.GENERATE},
    "other tenant": {Role.GENERATE},
    "LoRA-limited": {Role.GENERATE},
    "lora-keeper": {Role.MANAGE_LORAS},
    "metrics-only": {Role.METRICS},
    "admin": {Role.ADMIN},
}
WRONG = ("anonymous", "unknown", "expired", "revoked")
MAY = {
    Access.KEY: {"owner", "other tenant", "LoRA-limited", "admin"},
    Access.LORAS: {"lora-keeper", "admin"},
    Access.METRICS: {"metrics-only", "admin"},
    Access.ADMIN: {"admin"},
}


def expected(row: Route, who: str) -> str:
    if row.access is Access.OPEN:
        return "in"
    if who in WRONG:
        return "401"
    return "in" if who in MAY[row.access] else "403"


@pytest.fixture(scope="module")
def database_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def store(database_folder: Path) -> Iterator[KeyStore]:
    with opened(database_folder) as database:
        yield KeyStore(database, lambda: b"pepper")


@pytest.fixture(scope="module")
def keys(store: KeyStore) -> dict[str, str]:
    return asyncio.run(_made(store))


async def _made(store: KeyStore) -> dict[str, str]:
    made = {"unknown": "sk-sdxl-unknown"}
    for name, roles in ROLES.items():
        loras = ("ink",) if name == "LoRA-limited" else ("*",)
        tenant = "ops" if name == "other tenant" else "art"
        made[name], _ = await store.create(KeyGrant(tenant, roles=frozenset(roles), loras=loras))
    made["expired"], _ = await store.create(KeyGrant("art", roles=frozenset({Role.ADMIN}), expires=1.0))
    made["revoked"], revoked = await store.create(KeyGrant("art", roles=frozenset({Role.ADMIN})))
    await store.revoke(revoked.id)
    return made


@pytest.fixture
async def http(store: KeyStore) -> AsyncIterator[httpx.AsyncClient]:
    settings = {"auth": PROTECTED["auth"] | {"wrong_keys_per_minute": 0}}
    async with client(served_api(keys=store, **settings)) as made:
        yield made


@pytest.mark.parametrize("who", [*ROLES, *WRONG])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.verb} {row.paths[0]}")
async def test_a_cell(http: httpx.AsyncClient, keys: dict[str, str], row: Route, who: str) -> None:
    headers = {"authorization": f"Bearer {keys[who]}"} if who in keys else {}
    for path in row.paths:
        answer = await http.request(row.verb, re.sub(r"{[^}]+}", "x", path), headers=headers)
        status = str(answer.status_code)
        assert (status if status in ("401", "403") else "in") == expected(row, who), path


def test_every_row_is_meant_for_somebody() -> None:
    assert {row.access for row in ROWS} == set(Access)
