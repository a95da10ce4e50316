"""Operators decide what is flagged, its owners may appeal, and nobody else hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.core.errors import NotFound
from sdxl_gateway.core.events import Acted
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.reviews import NewReview, ReviewStore
from sdxl_gateway.storage.seal import Seal
from tests.kit.api import KEYED, ServedApi, client, served_api
from tests.kit.pictures import PNG

ADMIN, OWN = "/v1/admin/reviews", "/v1/moderations/reviews"
ROOT, ALPHA = {"api-key": "root"}, {"api-key": "alpha"}
BETA = httpx.Headers({b"authorization": "Bearer béta".encode()})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReviewStore]:
    with opened(tmp_path) as database:
        yield ReviewStore(database, BlobFolder(tmp_path / "reviews"), Seal())


@pytest.fixture
def served(store: ReviewStore) -> ServedApi:
    return served_api(reviews=store, **KEYED)


@pytest.fixture
async def http(served: ServedApi) -> AsyncIterator[httpx.AsyncClient]:
    async with client(served) as made:
        yield made


async def tenant_of(served: ServedApi, http: httpx.AsyncClient) -> str:
    await http.post("/v1/images/generations", json={"prompt": "a"}, headers=ALPHA)
    return served.gateway.callers[-1].tenant


async def flagged(served: ServedApi, store: ReviewStore, http: httpx.AsyncClient) -> tuple[str, str]:
    """A review's id, and that of the picture which is kept for alpha."""
    tenant = await tenant_of(served, http)
    image = await served.images.put(PNG, "png", tenant=tenant)
    review = NewReview(tenant, "key_1", "job-1", ("sexual",), "a prompt", PNG, "png", image.id)
    return await store.add(review), image.id


async def test_rejected_appealed_approved(served: ServedApi, store: ReviewStore, http: httpx.AsyncClient) -> None:
    review, image = await flagged(served, store, http)
    (listed,) = (await http.get(ADMIN, params={"state": "open"}, headers=ROOT)).json()["data"]
    assert (listed["id"], listed["prompt"], listed["categories"]) == (review, "a prompt", ["sexual"])
    seen = await http.get(f"{ADMIN}/{review}/picture", headers=ROOT)
    assert (seen.content, seen.headers["content-type"]) == (PNG, "image/png")
    assert seen.headers["x-content-type-options"] == "nosniff"
    body = {"decision": "reject", "note": "no"}
    rejected = await http.post(f"{ADMIN}/{review}", json=body, headers=ROOT)
    assert (rejected.status_code, rejected.json()["state"]) == (200, "rejected")
    with pytest.raises(NotFound):
        await served.images.find(image)
    again = await http.post(f"{ADMIN}/{review}", json=body, headers=ROOT)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "wrong_state")
    own = (await http.get(f"{OWN}/{review}", headers=ALPHA)).json()
    assert (own["state"], own["note"]) == ("rejected", "no")
    appealed = await http.post(f"{OWN}/{review}/appeal", json={"text": "a statue"}, headers=ALPHA)
    assert appealed.json()["state"] == "appealed"
    approved = await http.post(f"{ADMIN}/{review}", json={"decision": "approve"}, headers=ROOT)
    assert (approved.json()["state"], approved.json()["appeal"]) == ("approved", "a statue")
    done = [(one.action, one.target) for one in served.told if isinstance(one, Acted)]
    assert [pair for pair in done if pair[1] == review] == [
        ("review.rejected", review),
        ("review.appealed", review),
        ("review.approved", review),
    ]


async def test_a_rejected_picture_may_be_gone_already(
    served: ServedApi, store: ReviewStore, http: httpx.AsyncClient
) -> None:
    review, image = await flagged(served, store, http)
    await served.images.delete(image, await tenant_of(served, http))
    assert (await http.post(f"{ADMIN}/{review}", json={"decision": "reject"}, headers=ROOT)).status_code == 200


async def test_another_tenant_hears_the_same_as_of_none(
    served: ServedApi, store: ReviewStore, http: httpx.AsyncClient
) -> None:
    review, _ = await flagged(served, store, http)
    for verb, path in (("GET", ""), ("POST", "/appeal")):
        answers = [
            await http.request(verb, f"{OWN}/{one}{path}", json={"text": "mine"}, headers=BETA)
            for one in (review, "rev_" + "0" * 24)
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert answers[0].text.replace(review, "X") == answers[1].text.replace("rev_" + "0" * 24, "X")
    assert (await http.get(OWN, headers=BETA)).json()["data"] == []
    assert [one["id"] for one in (await http.get(OWN, headers=ALPHA)).json()["data"]] == [review]


@pytest.mark.parametrize(
    ("verb", "path", "body", "param"),
    [
        ("POST", ADMIN + "/{}", {}, "decision"),
        ("POST", ADMIN + "/{}", {"decision": "maybe"}, "decision"),
        ("POST", ADMIN + "/{}", {"decision": "reject", "note": 1}, "note"),
        ("POST", ADMIN + "/{}", {"decision": "reject", "why": "x"}, "why"),
        ("POST", OWN + "/{}/appeal", {}, "text"),
        ("POST", OWN + "/{}/appeal", {"text": "  "}, "text"),
        ("POST", OWN + "/{}/appeal", {"text": "x" * 4001}, "text"),
        ("GET", ADMIN + "?state=lost", None, "state"),
        ("GET", OWN + "?limit=0", None, "limit"),
        ("GET", ADMIN + "?after=rev_none", None, "after"),
    ],
)
async def test_what_cannot_be_read_names_its_field(
    served: ServedApi, store: ReviewStore, http: httpx.AsyncClient, verb: str, path: str, body: Any, param: str
) -> None:
    review, _ = await flagged(served, store, http)
    headers = ROOT if path.startswith(ADMIN) else ALPHA
    answer = await http.request(verb, path.format(review), json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_where_nothing_is_kept_nothing_is_found() -> None:
    async with client(served_api(**KEYED), ROOT) as http:
        assert (await http.get(ADMIN)).status_code == 404
