"""A tenant sees what its receivers were sent, and has it sent again; operators hand out the secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.keys import KeyGrant
from tests.kit.api import KEYED, client, served_api
from tests.kit.webhooks import PEPPER, START, WebhookKit, webhook_kit

ROOT = {"authorization": "Bearer root"}
MINE = "/v1/webhooks/deliveries"
SECRET = "/v1/admin/tenants/art/webhook_secret"
URL = "https://example.org/hook"


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[WebhookKit]:
    async with webhook_kit(tmp_path) as made:
        yield made


@pytest.fixture
async def http(kit: WebhookKit) -> AsyncIterator[httpx.AsyncClient]:
    """Of a key of the tenant art."""
    keys = KeyStore(kit.database, lambda: PEPPER)
    key, _ = await keys.create(KeyGrant("art"))
    async with client(served_api(keys=keys, webhooks=kit.store, **KEYED), {"authorization": f"Bearer {key}"}) as made:
        yield made


async def test_deliveries_come_in_pages_and_are_ones_own(http: httpx.AsyncClient, kit: WebhookKit) -> None:
    sent = [await kit.enqueue(URL, f"job_{number}") for number in range(5)]
    foreign = await kit.enqueue(URL, "job_9", tenant="ops")
    first = (await http.get(MINE, params={"limit": 3})).json()
    second = (await http.get(MINE, params={"limit": 3, "after": first["last_id"]})).json()
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert sorted(one["id"] for one in first["data"] + second["data"]) == sorted(sent)
    one = (await http.get(f"{MINE}/{sent[0]}")).json()
    assert one == {
        "id": sent[0],
        "object": "webhook.delivery",
        "event": "image.job.completed",
        "subject": "job_0",
        "url": URL,
        "state": "pending",
        "attempts": 0,
        "created_at": int(START),
        "last_attempt_at": None,
        "next_attempt_at": int(START),
        "last_status": None,
        "last_error": None,
    }
    for verb, path in (("GET", ""), ("POST", "/replay")):
        theirs, nobodys = [await http.request(verb, f"{MINE}/{name}{path}") for name in (foreign, "msg_none")]
        assert (theirs.status_code, theirs.text.replace(foreign, "msg_none")) == (404, nobodys.text)
    assert (await http.get(MINE, params={"after": foreign})).json()["error"]["param"] == "after"


async def test_a_delivery_is_replayed(http: httpx.AsyncClient, kit: WebhookKit) -> None:
    sent = await kit.enqueue(URL, "job_1")
    kit.now += 60
    again = await http.post(f"{MINE}/{sent}/replay")
    assert (again.status_code, again.json()["next_attempt_at"]) == (200, int(START) + 60)


async def test_operators_hand_out_secrets_and_make_new_ones(http: httpx.AsyncClient, kit: WebhookKit) -> None:
    told = (await http.get(SECRET, headers=ROOT)).json()
    assert told == {"object": "webhook.secret", "tenant": "art", "secrets": await kit.store.secrets("art")}
    new = await http.post(f"{SECRET}/rotate", headers=ROOT, json={"grace_seconds": 10})
    assert (new.status_code, new.json()["secrets"][1:]) == (201, told["secrets"])
    at_once = (await http.post(f"{SECRET}/rotate", headers=ROOT, json={"grace_seconds": 0})).json()
    assert len(at_once["secrets"]) == 1
    assert (await http.post(f"{SECRET}/rotate", headers=ROOT, json={"grace": 0})).status_code == 400
    assert [
        (await http.request(verb, path)).status_code for verb, path in (("GET", SECRET), ("POST", f"{SECRET}/rotate"))
    ] == [
        403,
        403,
    ]


async def test_a_key_has_a_receiver(http: httpx.AsyncClient) -> None:
    made = await http.post("/v1/admin/keys", headers=ROOT, json={"tenant": "art", "webhook_url": f" {URL}"})
    assert (made.status_code, made.json()["webhook_url"]) == (201, URL)
    rotated = await http.post(f"/v1/admin/keys/{made.json()['id']}/rotate", headers=ROOT)
    assert rotated.json()["webhook_url"] == URL


BAD: list[Any] = [
    "ftp://example.org/",
    "example.org",
    "",
    "http://",
    "http://a:b@example.org/",
    7,
    "http://x/" + "y" * 2048,
]


@pytest.mark.parametrize("url", BAD)
async def test_what_can_be_no_receiver_is_refused(http: httpx.AsyncClient, url: Any) -> None:
    answer = await http.post("/v1/admin/keys", headers=ROOT, json={"tenant": "art", "webhook_url": url})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "webhook_url")
