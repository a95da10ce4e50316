"""One Idempotency-Key is painted under at one gateway, whichever is asked, and answered alike by all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.api.endpoints.once import REPLAYED
from sdxl_gateway.config import Idempotency, Redis
from sdxl_gateway.core.background import Background
from sdxl_gateway.core.errors import AnsweredElsewhere, KeyInUse, KeyReused, Unavailable
from sdxl_gateway.core.listeners import unheard
from sdxl_gateway.shared import replies as module
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.idempotency import KeptReplies, KeptReply
from sdxl_gateway.storage.idempotency_table import Scope
from sdxl_gateway.storage.seal import Seal
from sdxl_gateway.storage.sealed import AesSeal
from tests.kit.api import GENERATE
from tests.kit.redis_server import RedisServer
from tests.kit.serving import served
from tests.kit.sharing import Sharer, eventually

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
KEY, MARK = Scope("art", "images.generations", "k é"), b"fingerprint"
REPLY = KeptReply(200, {"content-type": "application/json"}, '{"é": 1}'.encode())
Two = tuple[KeptReplies, KeptReplies]


def _replies(stack: ExitStack, one: Sharer, folder: Path) -> KeptReplies:
    database = stack.enter_context(opened(folder))
    return KeptReplies(database, BlobFolder(folder / "replies"), Idempotency(), one.shared.replies)


@asynccontextmanager
async def _gateways(
    redis: RedisServer, folder: Path, stack: ExitStack, seal: Seal | None = None, /, **sections: Any
) -> AsyncIterator[Two]:
    async with AsyncExitStack() as gateways:
        opening = [Sharer.opened(redis, folder / name, seal, **sections) for name in "ab"]
        one, other = [await gateways.enter_async_context(gateway) for gateway in opening]
        yield _replies(stack, one, folder / "data-a"), _replies(stack, other, folder / "data-b")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened_here:
        yield opened_here


@pytest.fixture
async def stores(redis: RedisServer, tmp_path: Path, stack: ExitStack) -> AsyncIterator[Two]:
    """Those of two gateways."""
    async with _gateways(redis, tmp_path, stack) as found:
        yield found


async def _free(store: KeptReplies) -> bool:
    """The key can be claimed there, with nothing answered yet."""
    try:
        return await store.claim(KEY, MARK) is None
    except KeyInUse:
        return False


async def test_one_paints_and_the_other_waits_and_replays(stores: Two) -> None:
    a, b = stores
    assert await a.claim(KEY, MARK) is None
    with pytest.raises(KeyInUse):
        await b.claim(KEY, MARK)
    with pytest.raises(KeyReused):
        await b.claim(KEY, b"another")
    await a.keep(KEY, MARK, REPLY)
    a.release(KEY)
    assert await b.claim(KEY, MARK) == REPLY
    assert await a.find(KEY, MARK) == REPLY
    with pytest.raises(KeyReused):
        await b.claim(KEY, b"another")


async def test_of_many_one_paints(stores: Two) -> None:
    found = await asyncio.gather(
        *(store.claim(KEY, MARK) for _ in range(20) for store in stores), return_exceptions=True
    )
    assert [one for one in found if not isinstance(one, KeyInUse)] == [None]


async def test_what_was_not_answered_is_free_at_the_other(stores: Two) -> None:
    a, b = stores
    await a.claim(KEY, MARK)
    a.release(KEY)
    assert await eventually(partial(_free, b))


async def test_its_own_gateway_may_go_on_at_once_with_anything(stores: Two) -> None:
    a, b = stores
    for mark in (MARK, b"another", MARK):
        assert await a.claim(KEY, mark) is None
        a.release(KEY)
    assert await a.claim(KEY, MARK) is None
    with pytest.raises(KeyInUse):
        await b.claim(KEY, MARK)
    await a.keep(KEY, MARK, REPLY)
    assert await b.claim(KEY, MARK) == REPLY


async def test_who_is_cut_off_while_it_claims_leaves_the_key(stores: Two) -> None:
    a, b = stores
    for turn in range(12):
        asking = asyncio.create_task(a.claim(KEY, MARK))
        for _ in range(turn):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        if not asking.cancelled():
            a.release(KEY)
        for store in (b, a, b):
            assert await eventually(partial(_free, store))
            store.release(KEY)
        assert await eventually(partial(_free, a))
        a.release(KEY)


async def test_the_late_reply_of_one_whose_lease_ended_is_told_nobody(stores: Two, redis: RedisServer) -> None:
    a, b = stores
    await a.claim(KEY, MARK)
    (name,) = redis.cli("KEYS", "*:reply:*").splitlines()
    assert 0 < int(redis.cli("PTTL", name)) <= module.LEASE_SECONDS * 1000
    redis.cli("DEL", name)
    assert await b.claim(KEY, MARK) is None
    await a.keep(KEY, MARK, KeptReply(200, {}, b"late"))
    a.release(KEY)
    assert await a.find(KEY, MARK) is None
    await b.keep(KEY, MARK, REPLY)
    assert await a.claim(KEY, MARK) == REPLY


async def test_a_redis_that_forgot_is_told_anew(
    two: tuple[Sharer, Sharer], tmp_path: Path, stack: ExitStack, redis: RedisServer
) -> None:
    a, b = (_replies(stack, one, tmp_path / f"data{number}") for number, one in enumerate(two))
    await a.claim(KEY, MARK)
    redis.cli("FLUSHALL")

    async def told() -> bool:
        return redis.cli("KEYS", "*:reply:*") != ""

    async with Background(unheard).doing("claims", two[0].shared.works["claims"]):
        assert await eventually(told)
    with pytest.raises(KeyInUse):
        await b.claim(KEY, MARK)


async def test_a_reply_too_large_is_told_by_its_own_gateway_alone(stores: Two) -> None:
    a, b = stores
    large = KeptReply(200, {}, b"x" * (Redis().max_reply_bytes + 1))
    await a.claim(KEY, MARK)
    await a.keep(KEY, MARK, large)
    a.release(KEY)
    with pytest.raises(AnsweredElsewhere):
        await b.claim(KEY, MARK)
    assert await a.find(KEY, MARK) == large
    await a.forget_before(1e12)
    assert await a.claim(KEY, MARK) is None


async def test_the_oldest_make_room_and_are_still_painted_once(
    redis: RedisServer, tmp_path: Path, stack: ExitStack
) -> None:
    little = redis.sections["redis"].model_copy(update={"max_replies_bytes": 1000})
    async with _gateways(redis, tmp_path, stack, redis=little) as (a, b):
        keys = [KEY._replace(key=str(number)) for number in range(6)]
        for key in keys:
            await a.claim(key, MARK)
            await a.keep(key, MARK, KeptReply(200, {}, b"x" * 200))
            a.release(key)
        with pytest.raises(AnsweredElsewhere):
            await b.claim(keys[0], MARK)
        assert await b.claim(keys[-1], MARK) is not None
        assert int(redis.cli("GET", "sdxl-gateway:replies-bytes")) <= 1000


async def test_without_redis_each_knows_its_own(
    stores: Two, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = stores
    redis.stop()
    for store in (a, b):
        assert await store.claim(KEY, MARK) is None
        with pytest.raises(KeyInUse):
            await store.claim(KEY, MARK)
    redis.start()
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.0)
    await a.keep(KEY, MARK, REPLY)
    await b.keep(KEY, MARK, KeptReply(200, {}, b"another picture"))
    for store in (a, b):
        store.release(KEY)
    assert await a.find(KEY, MARK) == REPLY
    assert await b.find(KEY, MARK) is None
    assert await b.claim(KEY, MARK) == REPLY


async def test_nothing_stands_there_in_words_where_things_are_sealed(
    redis: RedisServer, tmp_path: Path, stack: ExitStack
) -> None:
    async with _gateways(redis, tmp_path, stack, AesSeal([b"a" * 32])) as (a, b):
        await a.claim(KEY, MARK)
        await a.keep(KEY, MARK, KeptReply(200, {}, b"secret words"))
        (name,) = redis.cli("KEYS", "*:reply:*:body").splitlines()
        assert "secret words" not in redis.cli("GETRANGE", name, "32", "-1")
        found = await b.claim(KEY, MARK)
        assert found is not None
        assert found.body == b"secret words"


async def test_a_forged_reply_is_not_told(stores: Two, redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    a, b = stores
    await a.claim(KEY, MARK)
    await a.keep(KEY, MARK, REPLY)
    (name,) = redis.cli("KEYS", "*:reply:*:body").splitlines()
    redis.cli("SET", name, "x" * 32 + '[200, {}, "forged"]')
    with pytest.raises(AnsweredElsewhere):
        await b.claim(KEY, MARK)
    assert "another auth.pepper" in caplog.text


async def test_a_tenant_that_is_erased_is_so_in_redis(stores: Two, redis: RedisServer) -> None:
    a, b = stores
    for key in (KEY, KEY._replace(tenant="ops")):
        await a.claim(key, MARK)
        await a.keep(key, MARK, REPLY)
        a.release(key)
    assert await a.erase("art") == 1
    assert len(redis.cli("KEYS", "*:reply:*").splitlines()) == 2
    assert await b.claim(KEY, MARK) is None


async def test_a_tenant_is_not_erased_while_others_could_still_tell_it(stores: Two, redis: RedisServer) -> None:
    a, _ = stores
    await a.claim(KEY, MARK)
    await a.keep(KEY, MARK, REPLY)
    redis.stop()
    with pytest.raises(Unavailable):
        await a.erase("art")
    assert await a.find(KEY, MARK) == REPLY


async def test_every_key_has_an_end(stores: Two, redis: RedisServer) -> None:
    await stores[0].claim(KEY, MARK)
    await stores[0].keep(KEY, MARK, REPLY)
    names = redis.cli("KEYS", "*").splitlines()
    assert len(names) == 4
    assert all(0 < int(redis.cli("PTTL", name)) <= Idempotency().keep_seconds * 1000 for name in names)


async def test_over_http_fifty_at_two_gateways_paint_once(redis: RedisServer, tmp_path: Path) -> None:
    said: dict[str, Any] = {"prompt": "step-seconds=0.1", "size": "64x64", "steps": 2, "response_format": "b64_json"}

    async def post(http: httpx.AsyncClient) -> httpx.Response:
        return await http.post(GENERATE, json=said, headers={"idempotency-key": "k"})

    async with served(tmp_path / "a", **redis.sections) as a, served(tmp_path / "b", **redis.sections) as b:
        first = await asyncio.gather(*(post(http) for _ in range(25) for http in (a, b)))
        (painted,) = (answer for answer in first if answer.status_code == 200 and REPLAYED not in answer.headers)
        others = [answer for answer in first if answer is not painted]
        assert {answer.headers["retry-after"] for answer in others if answer.status_code == 409} == {"1"}
        assert {answer.status_code for answer in others} <= {200, 409}
        assert {answer.content for answer in others if answer.status_code == 200} <= {painted.content}
        for http in (a, b):
            again = await post(http)
            assert (again.status_code, again.content, again.headers[REPLAYED]) == (200, painted.content, "true")
