"""Operators export what is remembered of a tenant and erase it; the answer says what stays, and the log who did it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.config import Retention
from sdxl_gateway.core.events import Acted
from sdxl_gateway.core.texts import Texts
from sdxl_gateway.rooms import KEYS_STAY
from sdxl_gateway.storage.audit_texts import AuditTexts
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.remembered import Lasting, Remembered
from sdxl_gateway.storage.seal import Seal
from sdxl_gateway.telemetry.audit.chain import Chain
from sdxl_gateway.telemetry.audit.kept import REASON, AuditLines
from sdxl_gateway.telemetry.audit.line import Record
from sdxl_gateway.telemetry.audit.verify import verify
from tests.kit.api import KEYED, ServedApi, client, served_api

DATA = "/v1/admin/tenants/art/data"
ROOT = {"authorization": "Bearer root"}


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    made = Chain(tmp_path / "audit")
    made.append([Record(0.0, "job", tenant, tenant) for tenant in ("art", "ops", "art")], sync=False)
    return made


@pytest.fixture
def served(tmp_path: Path, chain: Chain) -> Iterator[ServedApi]:
    with opened(tmp_path) as database:
        texts, keys, lines = AuditTexts(database, Seal()), KeyStore(database, lambda: b"pepper"), AuditLines(chain)
        one = Texts("a", "art", 1.0, "salt", "a cat", "")
        texts.keep([one, replace(one, job_id="b"), replace(one, job_id="c", tenant="ops")])
        lasting = Lasting("audit", REASON, lines.exported), Lasting("keys", KEYS_STAY, keys.exported)
        remembered = Remembered((texts, lines), lasting, Retention(), lambda _: None)
        yield served_api(keys=keys, remembered=remembered, **KEYED)


async def _made_key(http: httpx.AsyncClient) -> str:
    made = (await http.post("/v1/admin/keys", json={"tenant": "art", "name": "posters"})).json()
    return str(made["key"])


async def test_all_of_it_is_streamed_as_lines_or_as_one_object(served: ServedApi) -> None:
    async with client(served, ROOT) as http:
        key = await _made_key(http)
        answer = await http.get(DATA)
        whole = (await http.get(DATA, params={"format": "json"})).json()
        wrong = await http.get(DATA, params={"format": "xml"})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"].startswith("application/jsonl")
    assert [line["kind"] for line in lines] == ["prompts", "prompts", "audit", "audit", "keys"]
    assert (lines[0]["data"]["prompt"], lines[-1]["data"]["name"]) == ("a cat", "posters")
    assert whole == {"object": "tenant.data", "tenant": "art", "data": lines}
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "format")
    assert key not in answer.text


async def test_it_is_erased_and_the_chain_stays(served: ServedApi, chain: Chain) -> None:
    async with client(served, ROOT) as http:
        gone = (await http.delete(DATA)).json()
        left = await http.get(DATA)
        others = await http.get("/v1/admin/tenants/ops/data")
        again = (await http.delete(DATA)).json()
    assert (gone["erased"], again["erased"]) == ({"prompts": 2}, {"prompts": 0})
    assert [one["kind"] for one in gone["stays"]] == ["audit", "keys"]
    assert "breaking the chain" in gone["stays"][0]["reason"]
    assert [json.loads(line)["kind"] for line in left.text.splitlines()] == ["audit", "audit"]
    assert [json.loads(line)["kind"] for line in others.text.splitlines()] == ["prompts", "audit"]
    assert verify(chain).broken is None
    done = [(one.action, one.tenant) for one in served.told if isinstance(one, Acted)]
    assert done == [
        ("tenant.erased", "art"),
        ("tenant.exported", "art"),
        ("tenant.exported", "ops"),
        ("tenant.erased", "art"),
    ]


async def test_where_nothing_is_remembered() -> None:
    async with client(served_api(**KEYED), ROOT) as http:
        assert (await http.get(DATA)).status_code == 404
