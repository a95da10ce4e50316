"""Jobs accepted to be painted later: what becomes of them, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sdxl_gateway.config import Tenant
from sdxl_gateway.core.ask import Ask, LoraRef, Operation
from sdxl_gateway.core.caller import Caller, Role
from sdxl_gateway.core.errors import (
    Busy,
    DeadlineExceeded,
    GatewayError,
    InvalidRequest,
    LostWhilePainting,
    ModerationBlocked,
    NotFound,
    PictureUnjudged,
    StorageFull,
    Unavailable,
)
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.stored_job import JobState
from sdxl_gateway.gateway import runner as module
from sdxl_gateway.gateway.events import Item
from sdxl_gateway.gateway.job_now import JobNow
from sdxl_gateway.gateway.live_job import News, NewsId
from sdxl_gateway.gateway.packed import unpack_ask, unpack_error, unpack_result
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.storage.job_table import Filter
from tests.kit.api import FakeGateway
from tests.kit.gateway import CALLER, PAINTED, GatewayKit, ask, decoded, gateway_kit, noise, upload
from tests.kit.judges import FakeNet, broken, scores
from tests.kit.stored_jobs import all_states, eventually, in_state, kept_tasks, over, painting

SLOW = "step-seconds=0.01"
VERY_SLOW = "step-seconds=0.2"
OTHER = Caller(tenant="other")
ADMIN = Caller(tenant="ops", roles=frozenset({Role.ADMIN}))


@dataclass
class Troubled(FakeGateway):
    """As the fake it is, but the first paintings raise these, one each."""

    troubles: list[GatewayError] = field(default_factory=list)

    async def paint(
        self, ask: Ask, caller: Caller, *, keep: bool = False, must_keep: bool = False, job_id: str | None = None
    ) -> AsyncGenerator[Item, None]:
        if self.troubles:
            raise self.troubles.pop(0)
        async for item in super().paint(ask, caller, keep=keep, must_keep=must_keep, job_id=job_id):
            yield item


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[GatewayKit]:
    async with gateway_kit(tmp_path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)


def error_of(now: JobNow) -> GatewayError:
    assert now.job.error is not None
    return unpack_error(now.job.error)


async def test_from_acceptance_to_the_picture(kit: GatewayKit) -> None:
    accepted = await kit.tasks.submit(ask("a fox", n=2, steps=2), CALLER)
    waits = await kit.tasks.get(accepted.id, CALLER)
    assert (waits.state, waits.ahead, waits.job.operation) == (JobState.QUEUED, 0, "generate")
    async with painting(kit.tasks):
        done = await over(kit.tasks, accepted.id)
    assert done.state is JobState.COMPLETED
    assert done.job.result is not None
    result = unpack_result(done.job.result)
    assert [one.index for one in result.pictures] == [0, 1]
    picture = decoded(await kit.images.read(result.pictures[0].stored))
    assert (picture.size, picture.getpixel((0, 0))) == ((256, 256), PAINTED)
    assert result.done.usage["output_tokens"] == 2 * 2 * 4


async def test_the_seed_is_fixed_at_acceptance(kit: GatewayKit) -> None:
    accepted = await kit.tasks.submit(ask("a fox"), CALLER)
    seed = unpack_ask(accepted.ask).ask.seed
    async with painting(kit.tasks):
        done = await over(kit.tasks, accepted.id)
    assert seed is not None
    assert done.job.result is not None
    assert unpack_result(done.job.result).pictures[0].seed == seed


async def test_what_comes_along_is_painted_from_and_then_dropped(kit: GatewayKit, tmp_path: Path) -> None:
    sent = ask(
        "a fox",
        operation=Operation.EDIT,
        images=(upload(noise((64, 64))),),
        mask=upload(noise((64, 64), (8, 8, 40, 40)), "mask"),
    )
    accepted = await kit.tasks.submit(sent, CALLER)
    assert len(list((tmp_path / "uploads").iterdir())) == 1
    async with painting(kit.tasks):
        assert (await over(kit.tasks, accepted.id)).state is JobState.COMPLETED
        await eventually(lambda: not list((tmp_path / "uploads").iterdir()))


async def test_what_cannot_be_painted_is_refused_at_once(kit: GatewayKit) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await kit.tasks.submit(ask("a fox", loras=(LoraRef("nothing", param="loras[0]"),)), CALLER)
    assert refused.value.param == "loras[0]"
    assert await all_states(kit.tasks) == {}


async def test_what_can_be_painted_no_more_fails_and_says_so(tmp_path: Path) -> None:
    async with kept_tasks(tmp_path, Troubled(troubles=[InvalidRequest("It is gone.", param="loras[0]")])) as tasks:
        accepted = await tasks.submit(ask("a fox"), CALLER)
        async with painting(tasks):
            done = await over(tasks, accepted.id)
    error = error_of(done)
    assert (done.state, type(error), error.param) == (JobState.FAILED, InvalidRequest, "loras[0]")


@pytest.mark.parametrize(
    "trouble", [StorageFull("full"), Unavailable("closing"), Busy("full", retry_after_seconds=1)], ids=lambda e: e.code
)
async def test_what_says_nothing_against_the_job_does_not_end_it(tmp_path: Path, trouble: GatewayError) -> None:
    async with kept_tasks(tmp_path, Troubled(troubles=[trouble] * 3)) as tasks:
        accepted = await tasks.submit(ask("a fox"), CALLER)
        async with painting(tasks):
            done = await over(tasks, accepted.id)
    assert (done.state, done.job.attempts) == (JobState.COMPLETED, 1)


async def test_a_tenant_at_its_limit_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, tenants={"me": Tenant(concurrent_jobs=1)}, jobs={"live": 3}) as kit:
        mine = [(await kit.tasks.submit(ask(f"a fox {SLOW}", steps=20), CALLER)).id for _ in range(6)]
        theirs = await kit.tasks.submit(ask("a fox"), OTHER)
        async with painting(kit.tasks):
            await eventually(lambda: any(live.job.tenant == "other" for live in kit.tasks.runner.live.values()))
            for one in mine:
                assert (await over(kit.tasks, one)).state is JobState.COMPLETED
        done = await kit.tasks.get(theirs.id, OTHER)
    assert (done.state, done.job.attempts) == (JobState.COMPLETED, 1)


async def test_an_engine_lost_twice_is_not_the_jobs_fault(tmp_path: Path) -> None:
    async with kept_tasks(tmp_path, Troubled(troubles=[LostWhilePainting("lost")] * 2)) as tasks:
        accepted = await tasks.submit(ask("a fox"), CALLER)
        async with painting(tasks):
            done = await over(tasks, accepted.id)
    assert (done.state, done.job.attempts) == (JobState.COMPLETED, 3)


async def test_poison_is_quarantined_after_three_crashes(tmp_path: Path) -> None:
    async with kept_tasks(tmp_path, Troubled(troubles=[LostWhilePainting("lost")] * 9)) as tasks:
        accepted = await tasks.submit(ask("a fox"), CALLER)
        async with painting(tasks):
            done = await over(tasks, accepted.id)
    assert (done.state, done.job.attempts, error_of(done).code) == (JobState.FAILED, 3, "engine_crashed")


async def test_an_orderly_end_is_no_attempt_and_the_next_server_paints_the_same(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path) as kit:
        accepted = await kit.tasks.submit(ask(f"a fox {VERY_SLOW}", steps=50), CALLER)
        async with painting(kit.tasks):
            await in_state(kit.tasks, accepted.id, JobState.IN_PROGRESS)
        left = await kit.tasks.get(accepted.id, CALLER)
        assert (left.state, left.job.attempts, left.ahead) == (JobState.QUEUED, 0, 0)
    async with gateway_kit(tmp_path) as again:
        assert await again.tasks.recover() == 0
        assert (await again.tasks.get(accepted.id, CALLER)).job.ask == accepted.ask


async def test_states_and_results_survive(tmp_path: Path) -> None:
    async with kept_tasks(tmp_path, FakeGateway()) as tasks:
        accepted = await tasks.submit(ask("a fox"), CALLER)
        async with painting(tasks):
            done = await over(tasks, accepted.id)
    async with kept_tasks(tmp_path, FakeGateway()) as again:
        assert (await again.get(accepted.id, CALLER)).job == done.job


async def test_only_so_many_are_live_at_a_time(tmp_path: Path) -> None:
    hold = asyncio.Event()
    async with kept_tasks(tmp_path, FakeGateway(hold=hold), live=3) as tasks:
        ids = [(await tasks.submit(ask("a fox"), CALLER)).id for _ in range(8)]
        async with painting(tasks):
            await eventually(lambda: len(tasks.runner.live) == 3)
            await asyncio.sleep(0.02)
            assert list(tasks.runner.live) == ids[:3]
            hold.set()
            for one in ids:
                assert (await over(tasks, one)).state is JobState.COMPLETED


async def test_its_key_and_class_count_when_its_turn_comes(tmp_path: Path) -> None:
    gateway, caller = FakeGateway(), Caller("art", key_id="key_1", loras=("ink",), priority=Priority.LOW)
    async with kept_tasks(tmp_path, gateway) as tasks:
        accepted = await tasks.submit(ask("a fox", priority=Priority.HIGH), caller)
        async with painting(tasks):
            await eventually(lambda: gateway.closed == 1)
    assert accepted.priority is Priority.LOW
    assert gateway.callers == [caller]


async def test_a_turn_that_comes_too_late(tmp_path: Path) -> None:
    async with kept_tasks(tmp_path, FakeGateway()) as tasks:
        accepted = await tasks.submit(ask("a fox", timeout=0.01), CALLER)
        await asyncio.sleep(0.02)
        async with painting(tasks):
            done = await over(tasks, accepted.id)
    assert isinstance(error_of(done), DeadlineExceeded)


async def test_no_line_is_too_full_for_what_was_accepted(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, queue_size=1) as kit:
        ids = [(await kit.tasks.submit(ask(f"a fox {SLOW}"), CALLER)).id for _ in range(16)]
        async with painting(kit.tasks):
            await eventually(lambda: bool(kit.tasks.runner.live))
            await kit.paint("at once")
            assert {(await over(kit.tasks, one)).state for one in ids} == {JobState.COMPLETED}


async def test_cancelled_while_it_waits(kit: GatewayKit) -> None:
    accepted = await kit.tasks.submit(ask("a fox"), CALLER)
    assert (await kit.tasks.cancel(accepted.id, CALLER)).state is JobState.CANCELLED
    async with painting(kit.tasks):
        await asyncio.sleep(0.02)
    assert (await kit.tasks.get(accepted.id, CALLER)).job.attempts == 0


async def test_cancelled_while_it_is_painted(kit: GatewayKit) -> None:
    accepted = await kit.tasks.submit(ask(f"a fox {SLOW}", steps=100), CALLER)
    async with painting(kit.tasks):
        await in_state(kit.tasks, accepted.id, JobState.IN_PROGRESS)
        cancelled = await kit.tasks.cancel(accepted.id, CALLER)
        await eventually(lambda: not kit.tasks.runner.live)
    assert (cancelled.state, error_of(cancelled).code) == (JobState.CANCELLED, "cancelled")
    assert kit.count("jobs_total", outcome="Cancelled") == 1


async def test_cancelling_what_is_over_changes_nothing(kit: GatewayKit) -> None:
    accepted = await kit.tasks.submit(ask("a fox"), CALLER)
    async with painting(kit.tasks):
        done = await over(kit.tasks, accepted.id)
    assert (await kit.tasks.cancel(accepted.id, CALLER)).job == done.job


async def test_another_tenants_job_is_not_there(kit: GatewayKit) -> None:
    accepted = await kit.tasks.submit(ask("a fox"), CALLER)
    for refused in (kit.tasks.get(accepted.id, OTHER), kit.tasks.cancel(accepted.id, OTHER)):
        with pytest.raises(NotFound):
            await refused
    with pytest.raises(InvalidRequest):
        await kit.tasks.page(Filter("other"), 9, accepted.id, OTHER)
    assert (await kit.tasks.get(accepted.id, ADMIN)).job.id == accepted.id


async def followed(tasks: Tasks, job_id: str, after: NewsId | None = None) -> list[News | JobNow]:
    async with asyncio.timeout(20):
        return [event async for event in tasks.events(job_id, CALLER, after)]


async def test_its_followers_hear_all_of_it(kit: GatewayKit) -> None:
    accepted = await kit.tasks.submit(ask(f"a fox {SLOW}", steps=6, partial_images=2), CALLER)
    following = asyncio.create_task(followed(kit.tasks, accepted.id))
    await asyncio.sleep(0.02)
    async with painting(kit.tasks):
        first, *news, last = await following
    assert isinstance(first, JobNow)
    assert isinstance(last, JobNow)
    assert (first.ahead, last.state) == (0, JobState.COMPLETED)
    told = [one for one in news if isinstance(one, News)]
    assert [one.kind for one in told if one.kind != "progress"] == ["in_progress", "partial_image", "partial_image"]
    assert (told[-1].step, told[-1].steps) == (6, 6)
    assert [one.id.number for one in told] == sorted({one.id.number for one in told})


async def test_who_comes_back_hears_what_was_missed(kit: GatewayKit) -> None:
    accepted = await kit.tasks.submit(ask(f"a fox {SLOW}", steps=12, partial_images=2), CALLER)
    async with painting(kit.tasks):
        seen: list[News] = []
        async for event in kit.tasks.events(accepted.id, CALLER, None):
            if isinstance(event, News):
                seen.append(event)
            if len(seen) == 3:
                break
        news = [one for one in await followed(kit.tasks, accepted.id, seen[-1].id) if isinstance(one, News)]
    assert min(one.id.number for one in news) > seen[-1].id.number
    assert sum(one.kind == "partial_image" for one in (*seen, *news)) == 2


async def test_who_comes_late_hears_how_it_ended(kit: GatewayKit) -> None:
    accepted = await kit.tasks.submit(ask("a fox"), CALLER)
    async with painting(kit.tasks):
        done = await over(kit.tasks, accepted.id)
    assert await followed(kit.tasks, accepted.id, NewsId(1, 1)) == [done]


@pytest.mark.parametrize("text", ["", "last", "1", "1-", "-1", "x-1", "1-2-3", "1" * 40 + "-1", None])
def test_what_is_no_news_id_means_from_the_beginning(text: str | None) -> None:
    assert NewsId.of(text) is None


async def test_the_disk_is_full_when_a_job_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is there: nothing is painted again, the end is written when there is room."""
    gateway, full = FakeGateway(), [StorageFull("full")] * 3
    async with kept_tasks(tmp_path, gateway) as tasks:
        accepted, end = await tasks.submit(ask("a fox"), CALLER), tasks.runner._store.end

        async def sometimes(*args: object, **more: object) -> object:
            if full:
                raise full.pop()
            return await end(*args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(tasks.runner._store, "end", sometimes)
        async with painting(tasks):
            done = await over(tasks, accepted.id)
    assert (done.state, done.job.attempts, gateway.closed) == (JobState.COMPLETED, 1, 1)


async def test_a_tenant_is_erased_while_its_job_is_painted(kit: GatewayKit) -> None:
    accepted = await kit.tasks.submit(ask(f"a fox {SLOW}", steps=100), CALLER)
    async with painting(kit.tasks):
        await in_state(kit.tasks, accepted.id, JobState.IN_PROGRESS)
        assert await kit.tasks.erase(CALLER.tenant) == 1
        await eventually(lambda: not kit.tasks.runner.live)
    assert await all_states(kit.tasks) == {}


@pytest.mark.parametrize(
    ("net", "kind"), [(FakeNet(scores(0.9)), ModerationBlocked), (FakeNet(broken), PictureUnjudged)]
)
async def test_what_may_not_leave_is_painted_once(tmp_path: Path, net: FakeNet, kind: type[GatewayError]) -> None:
    async with gateway_kit(tmp_path, net=net) as kit:
        accepted = await kit.tasks.submit(ask("a fox"), CALLER)
        async with painting(kit.tasks):
            done = await over(kit.tasks, accepted.id)
    assert (done.state, type(error_of(done)), len(net.seen)) == (JobState.FAILED, kind, 1)


async def test_one_picture_held_back_is_remembered_beside_the_others(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, net=FakeNet(scores(0.9, 0.0))) as kit:
        accepted = await kit.tasks.submit(ask("a fox", n=2), CALLER)
        async with painting(kit.tasks):
            done = await over(kit.tasks, accepted.id)
    result = unpack_result(done.job.result or "")
    (held,) = result.withheld
    assert (done.state, len(result.pictures)) == (JobState.COMPLETED, 1)
    assert isinstance(unpack_error(held.error), ModerationBlocked)
