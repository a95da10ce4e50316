"""A batch is painted line by line, whatever happens meanwhile: each line is answered once, in one of two files."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from sdxl_gateway.config import Files
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.batch import Batch, BatchState, NewBatch
from sdxl_gateway.core.caller import Caller, Role
from sdxl_gateway.core.errors import BodyTooLarge, Busy, GatewayError, InvalidRequest, NotFound, StorageFull
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.gateway import batch_context, batches, runner
from sdxl_gateway.gateway.batch_files import EXPIRED
from sdxl_gateway.gateway.events import Item
from sdxl_gateway.gateway.job_now import JobNow
from sdxl_gateway.gateway.packed import SettledAsk
from sdxl_gateway.storage.file_table import Purpose
from sdxl_gateway.storage.files import NewFile
from sdxl_gateway.storage.job_table import Filter
from sdxl_gateway.storage.pages import Cut
from tests.kit.api import FakeGateway
from tests.kit.batches import CALLER, BatchKit, batch_kit, request, working
from tests.kit.disks import full_disk
from tests.kit.pictures import DATA_URL, PNG

EDITS = "/v1/images/edits"


@dataclass
class Painter(FakeGateway):
    """As the fake it is; `refused` are prompts it does not take, `failed` such as it cannot paint."""

    refused: dict[str, GatewayError] = field(default_factory=dict)
    failed: dict[str, GatewayError] = field(default_factory=dict)
    painted: list[str] = field(default_factory=list)
    seconds: float = 0.0

    async def settled(self, ask: Ask, caller: Caller) -> SettledAsk:
        if (error := self.refused.pop(ask.prompt, None)) is not None:
            raise error
        return await super().settled(ask, caller)

    async def paint(
        self, ask: Ask, caller: Caller, *, keep: bool = False, must_keep: bool = False, job_id: str | None = None
    ) -> AsyncGenerator[Item, None]:
        await asyncio.sleep(self.seconds)
        if (error := self.failed.get(ask.prompt)) is not None:
            raise error
        async for item in super().paint(ask, caller, keep=keep, must_keep=must_keep, job_id=job_id):
            yield item
        self.painted.append(ask.prompt)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(batch_context, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def gateway() -> Painter:
    return Painter()


@pytest.fixture
async def kit(tmp_path: Path, gateway: Painter) -> AsyncIterator[BatchKit]:
    async with batch_kit(tmp_path, gateway) as made:
        yield made


async def test_from_acceptance_to_the_files(kit: BatchKit, gateway: Painter) -> None:
    gateway.failed["picture c"] = InvalidRequest("no", param="prompt")
    accepted = await kit.accepted(*[request(name) for name in "abc"], metadata={"for": "posters"})
    assert (accepted.state, accepted.expires - accepted.created) == (BatchState.VALIDATING, 86400)
    async with working(kit):
        over = await kit.over(accepted.id)
    assert (over.state, over.total, over.completed, over.failed) == (BatchState.COMPLETED, 3, 2, 1)
    assert list(over.times) == ["in_progress", "finalizing", "completed"]
    good, bad = await kit.lines_of(over.output_file), await kit.lines_of(over.error_file)
    assert [line["custom_id"] for line in good] == ["a", "b"]
    assert all(set(line) == {"id", "custom_id", "response", "error"} for line in good + bad)
    assert good[0]["response"]["status_code"] == 200
    assert good[0]["response"]["body"]["data"][0]["b64_json"]
    assert bad[0]["response"]["body"]["error"]["param"] == "prompt"
    assert (bad[0]["custom_id"], bad[0]["response"]["status_code"], bad[0]["error"]) == ("c", 400, None)


async def test_its_end_is_told_once_to_its_keys_address(kit: BatchKit) -> None:
    caller = replace(CALLER, webhook_url="https://receiver.example/hook")
    batch = await kit.batches.create(_new(await kit.send(request("a"))), caller)
    async with working(kit):
        await kit.over(batch.id)
    query = "SELECT event, subject, url, tenant FROM webhook_deliveries"
    rows = await kit.database.run(lambda connection: connection.execute(query).fetchall())
    assert [tuple(row) for row in rows] == [("batch.completed", batch.id, "https://receiver.example/hook", "me")]


async def test_lines_are_jobs_of_the_lowest_class_a_few_at_a_time(tmp_path: Path, gateway: Painter) -> None:
    gateway.hold = asyncio.Event()
    async with batch_kit(tmp_path, gateway, lines_at_once=3) as kit, working(kit):
        batch = await kit.accepted(*[request(str(i)) for i in range(10)])
        other = await kit.accepted(*[request(str(i)) for i in range(10)])
        await kit.once(batch.id, lambda batch: batch.state is BatchState.IN_PROGRESS)
        await asyncio.sleep(0.2)
        jobs, _ = await kit.tasks.page(Filter("me"), 100, None, CALLER)
        assert len(jobs) == 3
        assert {now.job.priority for now in jobs} == {Priority.LOW}
        assert {now.job.batch for now in jobs} <= {batch.id, other.id}
        gateway.hold.set()
        for one in (batch, other):
            assert (await kit.over(one.id)).completed == 10


@pytest.mark.parametrize("lines", [60, pytest.param(1000, marks=pytest.mark.full)])
async def test_a_restart_half_way_answers_each_line_once(tmp_path: Path, gateway: Painter, lines: int) -> None:
    async with batch_kit(tmp_path, gateway, lines_at_once=8) as kit:
        batch = await kit.accepted(*[request(str(i)) for i in range(lines)])
        for share in (0.1, 0.3, 0.6):
            async with working(kit):
                await kit.once(batch.id, lambda batch, share=share: batch.completed >= share * lines)  # type: ignore[misc]
    async with batch_kit(tmp_path, gateway, lines_at_once=8) as kit, working(kit):
        over = await kit.over(batch.id)
        found = await kit.lines_of(over.output_file)
    assert (over.state, over.completed, over.failed) == (BatchState.COMPLETED, lines, 0)
    assert [line["custom_id"] for line in found] == [str(i) for i in range(lines)]
    assert max(Counter(gateway.painted).values()) <= 3
    assert len(gateway.painted) <= lines + 3 * 8


async def test_a_cancelled_one_keeps_what_it_has(kit: BatchKit, gateway: Painter) -> None:
    batch = await kit.accepted(*[request(str(i)) for i in range(30)])
    async with working(kit):
        await kit.once(batch.id, lambda batch: batch.completed >= 3)
        gateway.hold = asyncio.Event()
        await asyncio.sleep(0.05)
        cancelling = await kit.batches.cancel(batch.id, CALLER)
        over = await kit.over(batch.id)
    assert (cancelling.state, over.state) == (BatchState.CANCELLING, BatchState.CANCELLED)
    good, bad = await kit.lines_of(over.output_file), await kit.lines_of(over.error_file)
    assert len(good) == over.completed >= 3
    assert len(bad) == over.failed == 30 - over.completed
    assert {line["custom_id"] for line in good + bad} == {str(i) for i in range(30)}
    assert {line["error"]["code"] for line in bad} == {"batch_cancelled"}
    jobs, _ = await kit.tasks.page(Filter("me"), 100, None, CALLER)
    assert all(now.job.state.over for now in jobs)
    assert await kit.batches.cancel(batch.id, CALLER) == over


async def test_one_cancelled_before_it_was_read_has_no_files(kit: BatchKit) -> None:
    batch = await kit.accepted(request("a"))
    await kit.batches.cancel(batch.id, CALLER)
    async with working(kit):
        over = await kit.over(batch.id)
    assert (over.state, over.output_file, over.error_file) == (BatchState.CANCELLED, None, None)


async def test_what_is_not_done_in_time_has_expired(tmp_path: Path, gateway: Painter) -> None:
    gateway.hold = asyncio.Event()
    async with batch_kit(tmp_path, gateway, window_seconds=0.3) as kit:
        batch = await kit.accepted(*[request(str(i)) for i in range(20)])
        async with working(kit):
            over = await kit.over(batch.id)
        bad = await kit.lines_of(over.error_file)
    assert (over.state, over.total, over.failed, over.output_file) == (BatchState.EXPIRED, 20, 20, None)
    assert bad[0]["error"] == {"code": EXPIRED.code, "message": EXPIRED.message}
    assert bad[0]["response"] is None


async def test_answers_have_an_end_and_what_is_left_is_not_painted(tmp_path: Path, gateway: Painter) -> None:
    async with batch_kit(tmp_path, gateway, max_output_bytes=2000, lines_at_once=1) as kit:
        batch = await kit.accepted(*[request(str(i)) for i in range(20)])
        async with working(kit):
            over = await kit.over(batch.id)
        good, bad = await kit.lines_of(over.output_file), await kit.lines_of(over.error_file)
    assert over.state is BatchState.COMPLETED
    assert 0 < len(good) == len(gateway.painted) < 20
    assert len(good) + len(bad) == 20
    assert {line["error"]["code"] for line in bad} == {"batch_output_full"}


async def test_a_file_that_is_wrong_fails_with_its_lines(kit: BatchKit, gateway: Painter) -> None:
    batch = await kit.accepted(request("a"), b"{", request("a"))
    async with working(kit):
        over = await kit.over(batch.id)
    assert (over.state, over.total) == (BatchState.FAILED, 0)
    assert [(error.line, error.code) for error in over.errors] == [(2, "invalid_json_line"), (3, "duplicate_custom_id")]
    assert gateway.asks == []


async def test_a_file_that_went_before_it_was_read_fails(kit: BatchKit) -> None:
    batch = await kit.accepted(request("a"))
    await kit.files.delete(batch.input_file, "me")
    async with working(kit):
        over = await kit.over(batch.id)
    assert [error.code for error in over.errors] == ["input_file_not_found"]


async def test_once_it_is_read_its_file_may_go(kit: BatchKit, gateway: Painter) -> None:
    gateway.hold = asyncio.Event()
    batch = await kit.accepted(*[request(str(i)) for i in range(20)])
    async with working(kit):
        await kit.once(batch.id, lambda batch: batch.state is BatchState.IN_PROGRESS)
        await kit.files.delete(batch.input_file, "me")
        gateway.hold.set()
        assert (await kit.over(batch.id)).completed == 20


async def test_what_a_line_asks_for_wrongly_is_its_own_answer(kit: BatchKit, gateway: Painter) -> None:
    gateway.refused["picture c"] = NotFound("gone", param="model")
    lines = [request("a", steps=-1), request("b", stream=True), request("c"), request("d"), request("e", zzz=1)]
    batch = await kit.accepted(*lines)
    async with working(kit):
        over = await kit.over(batch.id)
    bad = {line["custom_id"]: line["response"] for line in await kit.lines_of(over.error_file)}
    told = {name: (one["status_code"], one["body"]["error"]["param"]) for name, one in bad.items()}
    assert told == {"a": (400, "steps"), "b": (400, "stream"), "c": (404, "model")}
    good = {line["custom_id"]: line["response"] for line in await kit.lines_of(over.output_file)}
    assert good["e"]["headers"] == {"x-sdxl-gateway-ignored": "zzz"}
    assert "headers" not in good["d"]


async def test_edits_name_pictures_by_file(kit: BatchKit, gateway: Painter) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield PNG

    new = NewFile("cat.png", Purpose.VISION)
    cat = (await kit.files.receive("me", chunks(), lambda size, head: new)).id
    lines = [
        request("a", EDITS, images=[{"file_id": cat}]),
        request("b", EDITS, images=[{"image_url": DATA_URL}]),
        request("c", EDITS, images=[{"file_id": "file-0"}]),
    ]
    batch = await kit.accepted(*lines, endpoint=EDITS)
    async with working(kit):
        over = await kit.over(batch.id)
    assert (over.completed, over.failed) == (2, 1)
    assert {ask.images[0].data for ask in gateway.asks} == {PNG}
    (bad,) = await kit.lines_of(over.error_file)
    assert bad["response"]["body"]["error"]["code"] == "image_file_not_found"


async def test_what_is_busy_for_now_is_tried_again(kit: BatchKit, gateway: Painter) -> None:
    gateway.refused = {f"picture {i}": Busy("later", retry_after_seconds=1) for i in range(5)}
    batch = await kit.accepted(*[request(str(i)) for i in range(5)])
    async with working(kit):
        assert (await kit.over(batch.id)).completed == 5


async def test_a_job_that_its_owner_cancelled_is_answered_so(kit: BatchKit, gateway: Painter) -> None:
    gateway.hold = asyncio.Event()
    batch = await kit.accepted(request("a"), request("b"))
    async with working(kit):
        await kit.once(batch.id, lambda batch: batch.state is BatchState.IN_PROGRESS)
        jobs: list[JobNow] = []
        while len(jobs) < 2:
            jobs, _ = await kit.tasks.page(Filter("me"), 100, None, CALLER)
            await asyncio.sleep(0.01)
        one = next(now.job for now in jobs if now.job.custom_id == "a")
        await kit.tasks.cancel(one.id, CALLER)
        gateway.hold.set()
        over = await kit.over(batch.id)
    assert (over.completed, over.failed) == (1, 1)
    (bad,) = await kit.lines_of(over.error_file)
    assert (bad["custom_id"], bad["response"]["body"]["error"]["code"]) == ("a", "cancelled")


async def test_a_full_disk_loses_nothing(kit: BatchKit, gateway: Painter) -> None:
    batch = await kit.accepted(*[request(str(i)) for i in range(20)])
    async with working(kit):
        await kit.once(batch.id, lambda batch: batch.completed >= 3)
        async with full_disk(kit.database):
            await asyncio.sleep(0.3)
        over = await kit.over(batch.id)
    assert (over.state, over.completed) == (BatchState.COMPLETED, 20)
    assert len(await kit.lines_of(over.output_file)) == 20


async def test_a_full_disk_accepts_nothing(kit: BatchKit) -> None:
    file = await kit.send(request("a"))
    made = [await kit.batches.create(_new(file), CALLER)]
    async with full_disk(kit.database):
        with pytest.raises(StorageFull):
            await _made_for_ever(kit, file, made)
    made.append(await kit.batches.create(_new(file), CALLER))
    found, _ = await kit.batches.page(Cut(1000), CALLER.tenant, CALLER)
    assert {batch.id for batch in found} == {batch.id for batch in made}


async def _made_for_ever(kit: BatchKit, file: str, made: list[Batch]) -> None:
    while True:
        made.append(await kit.batches.create(_new(file), CALLER))


def _new(file: str) -> NewBatch:
    return NewBatch(file, "/v1/images/generations", "http://gw", {"a": "b" * 500})


async def test_what_cannot_be_a_batch_is_refused(kit: BatchKit) -> None:
    good = await kit.send(request("a"))
    for file, caller in (("file-0", CALLER), (good, Caller(tenant="other"))):
        with pytest.raises(NotFound, match=f"No such File object: {file}") as missing:
            await kit.batches.create(_new(file), caller)
        assert missing.value.param == "input_file_id"
    picture = await kit.files.add("me", NewFile("a.png", Purpose.VISION), kit.files.blobs.put(PNG), len(PNG))
    with pytest.raises(InvalidRequest, match="not for 'batch'"):
        await kit.batches.create(_new(picture.id), CALLER)
    kit.files.limits = Files(max_tenant_bytes=1)
    with pytest.raises(BodyTooLarge) as full:
        await kit.batches.create(_new(good), CALLER)
    assert full.value.code == "file_storage_exceeded"


async def test_another_tenants_is_not_there(kit: BatchKit) -> None:
    batch = await kit.accepted(request("a"))
    other = Caller(tenant="other")
    for ask in (kit.batches.get, kit.batches.cancel):
        with pytest.raises(NotFound, match=f"No batch found with id '{batch.id}'"):
            await ask(batch.id, other)
    with pytest.raises(NotFound):
        await anext(kit.batches.answers(batch.id, other))
    assert await kit.batches.page(Cut(9), other.tenant, other) == ([], False)


async def test_an_admin_sees_and_cancels_everybodys_and_reads_no_answers(kit: BatchKit) -> None:
    batch, admin = await kit.accepted(request("a")), Caller(tenant="house", roles=frozenset({Role.ADMIN}))
    assert (await kit.batches.get(batch.id, admin)).id == batch.id
    assert [one.id for one in (await kit.batches.page(Cut(9), None, admin))[0]] == [batch.id]
    assert (await kit.batches.cancel(batch.id, admin)).state is BatchState.CANCELLING
    with pytest.raises(NotFound):
        await anext(kit.batches.answers(batch.id, admin))


async def test_answers_are_read_before_and_after_the_end(kit: BatchKit, gateway: Painter) -> None:
    gateway.failed["picture 9"] = InvalidRequest("no")
    batch = await kit.accepted(*[request(str(i)) for i in range(10)])
    async with working(kit):
        await kit.once(batch.id, lambda batch: batch.completed >= 2)
        some = [line async for line in kit.batches.answers(batch.id, CALLER)]
        over = await kit.over(batch.id)
    whole = [line async for line in kit.batches.answers(batch.id, CALLER)]
    assert 2 <= len(some) <= len(whole) == 9
    assert {line.strip() for line in some} <= {line.strip() for line in whole}
    await kit.files.delete(over.output_file or "", "me")
    with pytest.raises(NotFound):
        await anext(kit.batches.answers(batch.id, CALLER))


async def test_one_that_is_erased_stops_at_once(kit: BatchKit, gateway: Painter) -> None:
    gateway.hold = asyncio.Event()
    batch = await kit.accepted(*[request(str(i)) for i in range(20)])
    async with working(kit):
        await kit.once(batch.id, lambda batch: batch.state is BatchState.IN_PROGRESS)
        assert await kit.batches.erase("me") == 1
        await kit.tasks.erase("me")
        with pytest.raises(NotFound):
            await kit.batches.get(batch.id, CALLER)
        assert await kit.batches.export("me") == []
        gateway.hold.set()
        again = await kit.accepted(request("a"))
        assert (await kit.over(again.id)).completed == 1


async def test_a_run_that_fails_as_nothing_should_goes_on_later(kit: BatchKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "AGAIN_SECONDS", 0.05)
    failures = [RuntimeError("odd")]
    finish = kit.store.finish

    async def odd(*args: object) -> None:
        if failures:
            raise failures.pop()
        await finish(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(kit.store, "finish", odd)
    batch = await kit.accepted(request("a"))
    async with working(kit):
        over = await kit.over(batch.id)
    assert (over.state, over.completed) == (BatchState.COMPLETED, 1)
