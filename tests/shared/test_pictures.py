"""What one gateway keeps another hands out, as long as there is room for a copy, and only what a gateway put there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from sdxl_gateway.config import Delivery
from sdxl_gateway.core.errors import Gone, Unavailable
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.gateway.fleet.images import FleetImages
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.storage.database import opened as database_in
from sdxl_gateway.storage.picture_folder import PictureFiles, PictureFolder
from tests.kit.api import GENERATE
from tests.kit.redis_server import RedisServer
from tests.kit.serving import served
from tests.kit.sharing import Sharer, eventually, questions_in

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
Two = tuple[PictureFiles, PictureFiles]
ROOM = 100


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdxl_gateway.gateway.fleet.questions.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("sdxl_gateway.gateway.fleet.questions.POLL_SECONDS", 0.02)


@pytest.fixture
async def files(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Two]:
    section = redis.sections["redis"].model_copy(update={"max_pictures_bytes": ROOM})
    async with AsyncExitStack() as stack:
        opening = [Sharer.opened(redis, tmp_path / name, redis=section) for name in "ab"]
        sharers = [await stack.enter_async_context(one) for one in opening]
        for one in sharers:
            assert one.shared.link is not None
            await one.shared.link.ask(one.shared.link.redis.ping)
        a, b = (one.shared.pictures(PictureFolder(tmp_path / f"{n}")) for n, one in enumerate(sharers))
        yield a, b


def picture(number: int) -> StoredImage:
    return StoredImage(f"{number:032x}", "png", "me", 40, 1000.0, 4600.0)


async def put(files: PictureFiles, number: int) -> StoredImage:
    stored = picture(number)
    await asyncio.to_thread(files.write, stored, bytes([number]) * 40)
    return stored


async def test_the_latest_are_found_at_the_other(files: Two, redis: RedisServer) -> None:
    a, b = files
    first, second, third = [await put(a, number) for number in (1, 2, 3)]
    assert await asyncio.to_thread(b.find, first.id) is None
    for one in (second, third):
        assert await asyncio.to_thread(b.find, one.id) == one
        assert await asyncio.to_thread(b.read, one) == await asyncio.to_thread(a.read, one)
    assert all(int(redis.cli("PTTL", name)) > 0 for name in redis.cli("KEYS", "*").splitlines())
    await asyncio.to_thread(a.delete, [second])
    assert await asyncio.to_thread(b.find, second.id) is None
    with pytest.raises(Gone):
        await asyncio.to_thread(b.read, second)


async def test_what_no_gateway_put_there_is_no_picture(files: Two, redis: RedisServer) -> None:
    a, b = files
    one, other = await put(a, 1), await put(a, 2)
    redis.cli("HSET", f"sdxl-gateway:picture:{one.id}", "bytes", "forged")
    with pytest.raises(Gone):
        await asyncio.to_thread(b.read, one)
    redis.cli("HSET", f"sdxl-gateway:picture:{other.id}", "head", "x" * 40)
    assert await asyncio.to_thread(b.find, other.id) is None


async def test_without_redis_each_has_its_own(files: Two, redis: RedisServer) -> None:
    a, b = files
    redis.stop()
    one = await put(a, 1)
    assert await asyncio.to_thread(a.read, one) == bytes([1]) * 40
    assert await asyncio.to_thread(b.find, one.id) is None


async def test_its_address_is_good_at_the_other_when_its_gateway_is_gone(redis: RedisServer, tmp_path: Path) -> None:
    async with served(tmp_path / "b", **redis.sections) as b:
        async with served(tmp_path / "a", **redis.sections) as a:
            url = await painted(a)
            data = (await a.get(url)).content
        assert (await b.get(url)).content == data
        assert (await b.get(url.replace("signature=", "signature=x"))).status_code != 200


async def painted(http: httpx.AsyncClient) -> str:
    answer = await http.post(GENERATE, json={"prompt": "a", "size": "64x64", "response_format": "url"})
    url: str = answer.json()["data"][0]["url"]
    return urlsplit(url)._replace(scheme="", netloc="").geturl()


async def test_one_is_deleted_at_the_other_too_and_nobody_else_may_ask_for_that(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdxl_gateway.gateway.fleet.images.LOOK_SECONDS", 0.02)
    async with served(tmp_path / "b", **redis.sections) as b:
        async with served(tmp_path / "a", **redis.sections) as a:
            first, second, third = [await painted(a) for _ in range(3)]
            assert (await b.delete(f"/v1/images/{id_in(first)}")).status_code == 200
            assert await eventually(partial(is_left_with, a, third, second))
            assert (await a.get(first)).status_code == 410
            redis.cli("ZADD", "sdxl-gateway:picture-deletes", "9e12", "x" * 40)
        assert (await b.delete(f"/v1/images/{id_in(third)}")).status_code == 200
        async with served(tmp_path / "a", **redis.sections) as a:
            assert await eventually(partial(is_left_with, a, second))
            assert (await a.get(second)).status_code == 200


async def test_the_list_is_of_all_gateways_in_their_order(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path / "a", **redis.sections) as a:
        async with served(tmp_path / "b", **redis.sections) as b:
            ids = [id_in(await painted(http)) for http in (a, a, b, a, b)]
            assert await listed(a) == await listed(b) == ids[::-1]
            assert "x-sdxl-gateway-warning" not in (await a.get("/v1/images")).headers
            unknown = await a.get("/v1/images", params={"after": "0" * 32})
            assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "after")
        monkeypatch.setattr("sdxl_gateway.gateway.fleet.questions.WAIT_SECONDS", 0.05)
        alone = await a.get("/v1/images")
        assert [one["id"] for one in alone.json()["data"]] == [ids[3], ids[1], ids[0]]
        assert "Not all servers answer" in alone.headers["x-sdxl-gateway-warning"]
        assert (await a.get("/v1/images", params={"after": ids[4]})).status_code == 503
        assert len((await a.get("/v1/images", params={"after": ids[3]})).json()["data"]) == 2
        redis.stop()
        assert "Not all servers answer" in (await a.get("/v1/images")).headers["x-sdxl-gateway-warning"]


class Asked:
    """A PictureMirror that tells what it has once."""

    def __init__(self, *wishes: tuple[str, str]) -> None:
        self.wishes = list(wishes)

    async def ask_to_delete(self, image_id: str, tenant: str) -> None:
        raise AssertionError

    async def to_delete(self) -> list[tuple[str, str]]:
        told, self.wishes = self.wishes, []
        return told


class SilentOnce(PictureFolder):
    """Lets nothing go the first time."""

    silent = True

    def delete(self, pictures: Iterable[StoredImage]) -> None:
        going = list(pictures)
        if going and self.silent:
            self.silent = False
            raise Unavailable("down")
        super().delete(going)


async def test_what_cannot_be_deleted_now_is_deleted_later(redis: RedisServer, tmp_path: Path) -> None:
    async with questions_in(redis, tmp_path / "questions") as questions:
        await deleted_later(tmp_path, questions)


async def deleted_later(tmp_path: Path, questions: Questions) -> None:
    with database_in(tmp_path) as database:
        asked = Asked()
        images = FleetImages(SilentOnce(tmp_path / "images"), database, Delivery(), asked, questions)
        kept = [await images.put(b"a", "png", tenant="me") for _ in range(2)]
        asked.wishes = [(kept[0].id, "me"), (kept[1].id, "you")]
        with pytest.raises(Unavailable):
            await images.turn()
        await images.turn()
        assert await images.page("me", 9) == ([kept[1]], False)


async def is_left_with(http: httpx.AsyncClient, *urls: str) -> bool:
    return await listed(http) == [id_in(url) for url in urls]


async def listed(http: httpx.AsyncClient) -> list[str]:
    """The ids of all pictures that are told there, page by page, with each after the last of the one before."""
    found: list[str] = []
    more, after = True, dict[str, str]()
    while more:
        page = (await http.get("/v1/images", params={"limit": 2, **after})).json()
        found += [one["id"] for one in page["data"]]
        more, after = page["has_more"], {"after": page["last_id"]}
    return found


def id_in(url: str) -> str:
    return Path(urlsplit(url).path).stem
