"""What belongs to a tenant is its own: every kind of caller against every route that names a thing, and no sign of what
others have."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.accounts.keys import KeyGrant
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.app import _application
from sdxl_gateway.config import Auth, Loras, Settings
from sdxl_gateway.core.caller import Role
from sdxl_gateway.rooms import Rooms, build_rooms
from sdxl_gateway.storage.reviews import NewReview
from sdxl_gateway.storage.webhook_table import enqueue_webhook
from tests.kit.api import GENERATE, served_api
from tests.kit.colours import colour_backend
from tests.kit.pictures import PNG

ROWS = [row for row in served_api().rows if "{" in row.documented_path and row.access in (Access.KEY, Access.ADMIN)]
CALLERS = ("owner", "other tenant", "LoRA-limited", "admin", "metrics-only", "expired", "revoked", "anonymous")
SHARED = {"model", "name"}
"""Models and LoRAs are everybody's who may use them."""
ADMINS_SEE = {"job_id", "batch_id"}
TENANTS_ALONE = {"GET /v1/batches/{batch_id}/archive"}
"""What a tenant's batches painted."""
SAID: dict[str, Any] = {
    "POST /v1/images/{image_id}/feedback": {"score": 3},
    "POST /v1/moderations/reviews/{review_id}/appeal": {"text": "it is a statue"},
}
GRANTS = {
    "owner": KeyGrant("art"),
    "LoRA-limited": KeyGrant("art", loras=("sunset",)),
    "other tenant": KeyGrant("ops"),
    "admin": KeyGrant("house", roles=frozenset({Role.ADMIN})),
    "metrics-only": KeyGrant("art", roles=frozenset({Role.METRICS})),
    "expired": KeyGrant("art", expires=1.0),
    "revoked": KeyGrant("art"),
}


def label(row: Route) -> str:
    return f"{row.verb} {row.documented_path}"


def named(row: Route) -> str:
    """The parameter that says which thing."""
    (found,) = re.findall(r"{(\w+)}", row.documented_path)
    return str(found)


def expected(row: Route, who: str) -> str:
    if who in ("expired", "revoked", "anonymous"):
        return "401"
    if row.access is Access.ADMIN:
        return "in" if who == "admin" else "403"
    if who == "metrics-only":
        return "403"
    if named(row) in SHARED:
        return "404" if who == "LoRA-limited" else "in"
    admins = named(row) in ADMINS_SEE and label(row) not in TENANTS_ALONE
    return "in" if who in ("owner", "LoRA-limited") or (who == "admin" and admins) else "404"


@dataclass
class House:
    """A whole server in this process, its callers' headers, and things that are made for the tenant `art`."""

    rooms: Rooms
    http: httpx.AsyncClient
    headers: dict[str, dict[str, str]]

    def __post_init__(self) -> None:
        self._numbers = count()

    async def ask(self, row: Route, thing: str, who: str) -> httpx.Response:
        path = row.documented_path.replace("{" + named(row) + "}", thing)
        return await self.http.request(row.verb, path, headers=self.headers[who], json=SAID.get(label(row)))

    async def thing(self, row: Route) -> str:
        """The id of a new thing of the row's kind; of what is shared, the one that some may not use."""
        name = named(row)
        if name in SHARED:
            return "demo" if row.documented_path.startswith("/v1/checkpoints/") else "outline"
        makers = {"job_id": self._job, "file_id": self._file, "batch_id": self._batch, "image_id": self._image}
        others = {"delivery_id": self._delivery, "review_id": self._review, "key_id": self._key, "tenant": self._tenant}
        return await (makers | others)[name]()

    async def _post(self, path: str, **said: Any) -> Any:
        headers = self.headers["owner"] | said.pop("headers", {})
        answer = await self.http.post(path, headers=headers, **said)
        assert answer.is_success, answer.text
        return answer.json()

    async def _job(self) -> str:
        """It is over, so that whoever follows it comes to an end."""
        made = await self._post(GENERATE, json={"prompt": "a"}, headers={"prefer": "respond-async"})
        await self._post(f"/v1/jobs/{made['id']}/cancel")
        return str(made["id"])

    async def _file(self) -> str:
        line = b'{"custom_id": "a", "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "a"}}'
        made = await self._post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", line)})
        return str(made["id"])

    async def _batch(self) -> str:
        said = {"input_file_id": await self._file(), "endpoint": GENERATE, "completion_window": "24h"}
        return str((await self._post("/v1/batches", json=said))["id"])

    async def _image(self) -> str:
        return (await self.rooms.stores.images.put(PNG, "png", tenant="art")).id

    async def _delivery(self) -> str:
        subject, event = f"job_{next(self._numbers)}", "image.job.completed"
        told = partial(enqueue_webhook, tenant="art", url="http://127.0.0.1:9/", event=event, subject=subject, now=1.0)
        return await self.rooms.persistence.database.run(told)

    async def _review(self) -> str:
        review = NewReview("art", "key_1", "job-1", ("sexual",), "a", PNG, "png", None)
        return await self.rooms.stores.reviews.add(review)

    async def _key(self) -> str:
        _, made = await self.rooms.accounts.keys.create(KeyGrant("art"))
        return made.id

    async def _tenant(self) -> str:
        return "art"


@asynccontextmanager
async def opened_house(folder: Path) -> AsyncIterator[House]:
    """Without an engine and without work in the background, so that the database hears of requests alone."""
    settings = Settings(
        data_directory=folder / "data", loras=Loras(directory=folder), auth=Auth(wrong_keys_per_minute=0)
    )
    built = build_rooms(settings, colour_backend)
    built.persistence.database.open()
    headers = {"anonymous": dict[str, str]()}
    for who, grant in GRANTS.items():
        key, made = await built.accounts.keys.create(grant)
        headers[who] = {"authorization": f"Bearer {key}"}
        if who == "revoked":
            await built.accounts.keys.revoke(made.id)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=_application(built)), base_url="http://gw") as http:
        yield House(built, http, headers)
    built.persistence.database.close()


@dataclass(frozen=True)
class Probed:
    """What a stranger is told, and what was looked up for it in the database; without the id and the time."""

    status: int
    headers: tuple[str, ...]
    body: str
    statements: tuple[str, ...]


async def probed(house: House, row: Route, thing: str) -> Probed:
    seen: list[str] = []
    await house.rooms.persistence.database.run(lambda connection: connection.set_trace_callback(seen.append))
    answer = await house.ask(row, thing, "other tenant")
    statements = tuple(re.sub(r"\d+\.\d+", "NOW", one.replace(thing, "ID")) for one in seen)
    await house.rooms.persistence.database.run(lambda connection: connection.set_trace_callback(None))
    return Probed(answer.status_code, tuple(answer.headers), answer.text.replace(thing, "ID"), statements)


def never(thing: str) -> str:
    """An id of the same form that nobody was ever given."""
    return thing[:-1] + ("0" if thing[-1] != "0" else "1")


async def _all(folder: Path) -> dict[str, Any]:
    """Each cell's answer, and for each row the two that a stranger gets."""
    cells: dict[tuple[str, str], int] = {}
    probes: dict[str, tuple[Probed, Probed]] = {}
    async with opened_house(folder) as house:
        for row in ROWS:
            for who in CALLERS:
                answer = await house.ask(row, await house.thing(row), who)
                cells[label(row), who] = answer.status_code
            if expected(row, "other tenant") == "404":
                thing = await house.thing(row)
                probes[label(row)] = await probed(house, row, thing), await probed(house, row, never(thing))
    return {"cells": cells, "probes": probes}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return asyncio.run(_all(tmp_path_factory.mktemp("house")))


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("row", ROWS, ids=label)
def test_a_cell(answers: dict[str, Any], row: Route, who: str) -> None:
    status = str(answers["cells"][label(row), who])
    assert (status if status in ("401", "403", "404") else "in") == expected(row, who)


@pytest.mark.parametrize("row", [row for row in ROWS if expected(row, "other tenant") == "404"], ids=label)
def test_a_thing_of_another_tenants_is_as_one_that_never_was(answers: dict[str, Any], row: Route) -> None:
    """In what is told and in what is looked up, so that no clock tells them apart."""
    there, nowhere = answers["probes"][label(row)]
    assert there == nowhere
    assert there.status == 404
