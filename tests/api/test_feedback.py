"""Owners say how good their pictures are, and nobody else's; operators see how the arms of rollouts do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.core.events import Acted, ArmEnded
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.feedback import FeedbackStore
from sdxl_gateway.storage.seal import Seal
from tests.kit.api import KEYED, ServedApi, client, served_api
from tests.kit.pictures import PNG

TABLE = "/v1/admin/feedback"
ROOT, ALPHA = {"api-key": "root"}, {"api-key": "alpha"}
BETA = httpx.Headers({b"authorization": "Bearer béta".encode()})
NEW, OLD = Arm("fresh", "new"), Arm("fresh", "old")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    with opened(tmp_path) as database:
        yield FeedbackStore(database, Seal())


@pytest.fixture
def served(store: FeedbackStore) -> ServedApi:
    rollouts = {"fresh": {"old": 90.0, "new": 10.0}, "quiet": {"old": 1.0}}
    return served_api(feedback=store, rollouts=rollouts, **KEYED)


@pytest.fixture
async def http(served: ServedApi) -> AsyncIterator[httpx.AsyncClient]:
    async with client(served) as made:
        yield made


@pytest.fixture
async def image(served: ServedApi, http: httpx.AsyncClient) -> str:
    """The id of a picture of alpha's."""
    await http.post("/v1/images/generations", json={"prompt": "a"}, headers=ALPHA)
    return (await served.images.put(PNG, "png", tenant=served.gateway.callers[-1].tenant)).id


def path(image: str) -> str:
    return f"/v1/images/{image}/feedback"


async def test_an_owner_says_so_and_says_otherwise(served: ServedApi, http: httpx.AsyncClient, image: str) -> None:
    said = {"score": 2, "tags": ["Blurry", "dark", "blurry "], "comment": " too dark ", "user": "mia"}
    first = await http.post(path(image), json=said, headers=ALPHA)
    assert first.json() | {"created_at": 0} == {
        "object": "image.feedback",
        "image": image,
        "score": 2,
        "tags": ["blurry", "dark"],
        "comment": "too dark",
        "user": "mia",
        "created_at": 0,
    }
    again = await http.post(f"/images/{image}/feedback", json={"score": 5}, headers=ALPHA)
    assert (again.status_code, again.json()["score"], again.json()["user"]) == (200, 5, None)
    done = [(one.action, one.target, one.about) for one in served.told if isinstance(one, Acted)]
    assert done == [("feedback.given", image, {"score": 2}), ("feedback.given", image, {"score": 5})]


async def test_a_picture_of_another_tenants_is_not_there(http: httpx.AsyncClient, image: str) -> None:
    for one, headers in ((image, BETA), (image, ROOT), ("0" * 32, ALPHA)):
        answer = await http.post(path(one), json={"score": 5}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, "No such image.")


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({}, "score"),
        ({"score": 0}, "score"),
        ({"score": 6}, "score"),
        ({"score": 2.5}, "score"),
        ({"score": "good"}, "score"),
        ({"score": 3, "tags": "blurry"}, "tags"),
        ({"score": 3, "tags": ["a", 1]}, "tags[1]"),
        ({"score": 3, "tags": ["a", " "]}, "tags[1]"),
        ({"score": 3, "tags": [str(one) for one in range(17)]}, "tags"),
        ({"score": 3, "tags": ["a" * 65]}, "tags[0]"),
        ({"score": 3, "comment": "a" * 4001}, "comment"),
        ({"score": 3, "user": 7}, "user"),
        ({"score": 3, "stars": 3}, "stars"),
    ],
)
async def test_what_cannot_be_read(http: httpx.AsyncClient, image: str, said: dict[str, Any], param: str) -> None:
    answer = await http.post(path(image), json=said, headers=ALPHA)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_the_table(http: httpx.AsyncClient, store: FeedbackStore, image: str) -> None:
    for seconds in (1.0, 2.0, 3.0, 40.0):
        store.on_event(ArmEnded(NEW, "finished", 2, seconds, "art", (image,)))
    store.on_event(ArmEnded(NEW, "reused", 0))
    store.on_event(ArmEnded(NEW, "refused"))
    store.on_event(ArmEnded(Arm("fresh", "gone"), "failed"))
    for user, score in (("mia", 5), ("tom", 4), ("ann", 3)):
        await http.post(path(image), json={"score": score, "user": user, "tags": ["sharp"]}, headers=ALPHA)
    answer = (await http.get(TABLE, headers=ROOT)).json()
    rows = {(row["rollout"], row["arm"]): row for row in answer["data"]}
    assert list(rows) == [("fresh", "old"), ("fresh", "new"), ("fresh", "gone"), ("quiet", "old")]
    new = rows["fresh", "new"]
    assert new["requests"] == {"finished": 4, "reused": 1, "refused": 1, "failed": 0, "cancelled": 0}
    assert (new["share"], new["pictures"], new["scores"], new["tags"]) == (10.0, 8, 3, {"sharp": 3})
    assert new["seconds"] == {"median": pytest.approx(2.0, rel=0.01), "p95": pytest.approx(40.0, rel=0.01)}
    assert new["refused_share"] == {
        "value": pytest.approx(1 / 6),
        "low": pytest.approx(0.0301, abs=5e-4),
        "high": pytest.approx(0.5635, abs=5e-4),
    }
    reach = 4.3027 / 3**0.5
    assert new["score"] == {
        "value": 4.0,
        "low": pytest.approx(4 - reach, abs=1e-3),
        "high": pytest.approx(4 + reach, abs=1e-3),
    }
    nothing = {"value": None, "low": None, "high": None}
    assert (rows["fresh", "gone"]["share"], rows["quiet", "old"]["score"]) == (None, nothing)
    for params, count in (({"rollout": "quiet"}, 1), ({"days": 1}, 4), ({"rollout": "nobody's"}, 0)):
        assert len((await http.get(TABLE, params=params, headers=ROOT)).json()["data"]) == count


@pytest.mark.parametrize("days", ["0", "many", "1.5"])
async def test_days_that_are_none(http: httpx.AsyncClient, days: str) -> None:
    answer = await http.get(TABLE, params={"days": days}, headers=ROOT)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "days")


async def test_a_server_that_keeps_none() -> None:
    served = served_api(**KEYED)
    async with client(served) as http:
        assert (await http.get(TABLE, headers=ROOT)).status_code == 404
