"""The desk between callers and engines that answer, refuse, die and come back, in any order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdxl_gateway.backends.fake_engine import READY
from sdxl_gateway.catalog.checkpoint_folder.versions import versioned
from sdxl_gateway.core.errors import (
    Busy,
    Cancelled,
    DeadlineExceeded,
    EngineFault,
    InvalidRequest,
    LostWhilePainting,
    Unavailable,
)
from sdxl_gateway.core.events import (
    AdapterLoaded,
    EngineEvent,
    Failed,
    Finished,
    Held,
    JobAssigned,
    JobEvent,
    MemoryHeld,
    Painted,
    Progressed,
    Started,
    StepTaken,
)
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.ipc.channel import FrameTooLarge
from sdxl_gateway.ipc.messages import Cancel, Command, Report, Submit
from sdxl_gateway.jobs.dispatcher import Dispatcher
from sdxl_gateway.jobs.engine_slot import EngineSlot
from sdxl_gateway.jobs.subscription import Subscription
from sdxl_gateway.scheduling.costs import step_work
from tests.kit.jobs import job


class Room:
    """A desk, its seats, and what was said to each engine."""

    def __init__(
        self, slots: int = 1, queue_size: int = 64, max_lanes: int = 4, tenant_queue_size: int | None = None
    ) -> None:
        self.now = 0.0
        self.dispatcher = Dispatcher(
            queue_size=queue_size,
            max_lanes=max_lanes,
            tenant_queue_size=tenant_queue_size,
            clock=lambda: self.now,
        )
        self.said: list[list[Command]] = [[] for _ in range(slots)]
        for number, said in enumerate(self.said):
            self.dispatcher.slots.append(EngineSlot(str(number), send=said.append))

    def ready(self, number: int = 0) -> None:
        self.dispatcher.on_report(self.dispatcher.slots[number], READY)

    def lose(self, number: int = 0) -> None:
        self.dispatcher.engine_lost(self.dispatcher.slots[number])

    def report(self, report: Report, number: int = 0) -> None:
        self.dispatcher.on_report(self.dispatcher.slots[number], report)

    def on_report(self, event: JobEvent, number: int = 0) -> None:
        self.dispatcher.on_report(self.dispatcher.slots[number], event)

    def submitted(self, number: int = 0) -> list[str]:
        return [command.job.id for command in self.said[number] if isinstance(command, Submit)]

    def paint(self, one: Job, number: int = 0) -> None:
        self.on_report(Started(one.id, 0.0), number)
        for index in range(one.recipe.count):
            self.on_report(Painted(one.id, index, index, Picture(1, 1, "L", b"0")), number)
        self.on_report(Finished(one.id, 2.0), number)


async def last(subscription: Subscription) -> JobEvent:
    async with asyncio.timeout(10):
        return [event async for event in subscription][-1]


async def failed_with(subscription: Subscription, kind: type[Exception]) -> bool:
    end = await last(subscription)
    return isinstance(end, Failed) and isinstance(end.error, kind)


async def test_jobs_wait_for_an_engine_and_go_out_up_to_the_window() -> None:
    room, jobs = Room(max_lanes=2), [job() for _ in range(6)]
    subscription = [room.dispatcher.submit(one) for one in jobs]
    assert not room.submitted()
    room.ready()
    assert room.submitted() == [one.id for one in jobs[:4]]
    room.paint(jobs[0])
    assert room.submitted() == [one.id for one in jobs[:5]]
    assert isinstance(await last(subscription[0]), Finished)
    assert (room.dispatcher.running, room.dispatcher.waiting) == (0, 5)


async def test_a_full_window_is_open_to_a_higher_class() -> None:
    room = Room(max_lanes=1)
    room.ready()
    kept = [room.dispatcher.submit(job()) for _ in range(5)]
    urgent = job(priority=Priority.HIGH)
    kept.append(room.dispatcher.submit(urgent))
    assert room.submitted()[-1] == urgent.id


async def test_a_full_line_is_busy_and_says_for_how_long() -> None:
    room, jobs = Room(queue_size=1, max_lanes=1), [job(), job(), job()]
    room.ready()
    kept = [room.dispatcher.submit(one) for one in jobs]
    with pytest.raises(Busy) as refused:
        room.dispatcher.submit(job())
    assert refused.value.retry_after_seconds == 1.0
    room.paint(jobs[0])
    kept.append(room.dispatcher.submit(job()))
    with pytest.raises(Busy) as refused:
        room.dispatcher.submit(job())
    assert refused.value.retry_after_seconds == 2.0


async def test_how_fast_the_line_moves_says_when_to_come_back() -> None:
    room, jobs = Room(queue_size=3, max_lanes=1), [job() for _ in range(5)]
    room.ready()
    kept = [room.dispatcher.submit(one) for one in jobs]
    for one in jobs[:3]:
        room.paint(one)
        kept.append(room.dispatcher.submit(job()))
        room.now += 7.0
    with pytest.raises(Busy) as refused:
        room.dispatcher.submit(job())
    assert refused.value.retry_after_seconds == 7.0


async def test_a_tenant_with_too_many_waiting_is_told_so_and_others_are_let_in() -> None:
    room = Room(max_lanes=1, tenant_queue_size=2)
    room.ready()
    kept = [room.dispatcher.submit(job(tenant="a")) for _ in range(4)]
    kept.append(room.dispatcher.submit(job(tenant="b")))
    with pytest.raises(Busy, match="your requests"):
        room.dispatcher.submit(job(tenant="a"))
    kept.append(room.dispatcher.submit(job(tenant="b")))


async def test_each_is_told_its_place_in_the_line() -> None:
    room = Room(max_lanes=1)
    room.ready()
    places = [room.dispatcher.submit(job(tenant="a")) for _ in range(5)]
    assert [one.position for one in places] == [0, 0, 1, 2, 3]
    other = room.dispatcher.submit(job(tenant="b"))
    assert other.position == 2
    urgent = room.dispatcher.submit(job(tenant="b", priority=Priority.HIGH))
    assert urgent.position == 0


async def test_an_answer_that_would_come_too_late_is_refused_now() -> None:
    room = Room()
    room.ready()
    first = room.dispatcher.submit(job(steps=10, deadline=time.time() + 100))
    room.dispatcher.on_report(room.dispatcher.slots[0], StepTaken(5.0, 1, 2 * 64 / 1e6))
    with pytest.raises(Busy) as refused:
        room.dispatcher.submit(job(steps=10, deadline=time.time() + 90))
    assert refused.value.retry_after_seconds in (10.0, 11.0)
    second = room.dispatcher.submit(job(steps=10, deadline=time.time() + 110))
    await first.aclose()
    await second.aclose()
    third = room.dispatcher.submit(job(steps=10, deadline=time.time() + 20))
    assert third is not None


async def test_cancelled_in_the_line_and_at_the_engine() -> None:
    room, jobs = Room(max_lanes=1), [job() for _ in range(4)]
    room.ready()
    subscription = [room.dispatcher.submit(one) for one in jobs]
    for one in (jobs[0], jobs[3]):
        room.dispatcher.cancel(one.id)
        room.dispatcher.cancel(one.id)
    assert await failed_with(subscription[0], Cancelled)
    assert await failed_with(subscription[3], Cancelled)
    assert [c for c in room.said[0] if isinstance(c, Cancel)] == [Cancel(jobs[0].id)]
    room.on_report(Failed(jobs[0].id, Cancelled("")))
    assert room.submitted() == [one.id for one in jobs[:3]]


async def test_letting_go_cancels() -> None:
    room, one = Room(), job()
    room.ready()
    subscription = room.dispatcher.submit(one)
    del subscription
    await asyncio.sleep(0)
    assert room.said[0][-1] == Cancel(one.id)


async def test_waiting_for_an_event_can_be_broken_off_and_resumed() -> None:
    room, one = Room(), job()
    room.ready()
    subscription = room.dispatcher.submit(one)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await anext(subscription)
    room.on_report(Started(one.id, 0.5))
    assert await anext(subscription) == Started(one.id, 0.5)


async def test_a_job_too_large_to_be_said_ends_at_once_and_takes_no_room() -> None:
    def refuse(_: Command) -> None:
        raise FrameTooLarge

    room = Room()
    room.dispatcher.slots[0].send = refuse
    room.ready()
    assert await failed_with(room.dispatcher.submit(job()), InvalidRequest)
    assert not room.dispatcher.slots[0].assigned


async def test_the_deadline_is_kept_even_without_an_engine() -> None:
    subscription = Room().dispatcher.submit(job(deadline=time.time() + 0.01))
    assert await failed_with(subscription, DeadlineExceeded)


async def test_a_lost_engine_fails_what_it_began_and_gives_back_the_rest_in_order() -> None:
    room, jobs = Room(max_lanes=1), [job() for _ in range(4)]
    room.ready()
    subscription = [room.dispatcher.submit(one) for one in jobs]
    room.on_report(Started(jobs[0].id, 0.0))
    room.lose()
    assert not room.dispatcher.ready
    assert await failed_with(subscription[0], Unavailable)
    room.said[0].clear()
    room.ready()
    assert room.submitted() == [one.id for one in jobs[1:3]]


async def test_a_begun_job_goes_to_another_engine_once_and_its_follower_hears_everything_once() -> None:
    room, one = Room(slots=3), job(count=2)
    for number in range(3):
        room.ready(number)
    subscription = room.dispatcher.submit(one)
    for number in range(2):
        room.on_report(Started(one.id, 0.0), number)
        room.on_report(Progressed(one.id, 0, 2 - number, 3), number)
    room.on_report(Painted(one.id, 0, 0, Picture(1, 1, "L", b"0")), 0)
    assert room.submitted(1) == []
    room.lose(0)
    assert room.submitted(1) == [one.id]
    room.paint(one, 0)
    room.paint(one, 1)
    events = [type(event) async for event in subscription]
    assert events == [Started, Progressed, Painted, Painted, Finished]


async def test_a_begun_job_that_lost_two_engines_spares_the_others() -> None:
    room, one = Room(slots=3), job()
    for number in range(3):
        room.ready(number)
    subscription = room.dispatcher.submit(one)
    for number in range(2):
        room.on_report(Started(one.id, 0.0), number)
        room.lose(number)
    assert await failed_with(subscription, LostWhilePainting)
    assert room.submitted(2) == []


async def test_whoever_waits_least_is_given_a_job_and_a_slow_card_is_known_by_itself() -> None:
    """The second takes two and a half times as long: it is given a job while it idles, and then no more for a while."""
    room = Room(slots=2)
    for number, seconds in enumerate((1.0, 2.5)):
        room.ready(number)
        room.report(StepTaken(seconds, 1, step_work(job().recipe)), number)
    jobs = [job() for _ in range(4)]
    kept = [room.dispatcher.submit(one) for one in jobs]
    assert (room.submitted(0), room.submitted(1)) == ([jobs[0].id, jobs[2].id, jobs[3].id], [jobs[1].id])
    assert len(kept) == 4


async def test_a_job_waits_for_a_full_engine_that_is_warm_while_those_behind_pass_by() -> None:
    """Bringing the blend takes 100 s here, and each job 3: so it would have to wait for many before it was brought."""
    room = Room(slots=2, max_lanes=1)
    for number in range(2):
        room.ready(number)
        room.report(StepTaken(1.0, 1, step_work(job().recipe)), number)
    room.report(AdapterLoaded("ink", "disk", 100.0, 1), 0)
    room.report(MemoryHeld(warm={"vram": ("ink",)}), 0)
    inks, plain = [job(blend="ink") for _ in range(4)], job()
    kept = [room.dispatcher.submit(one) for one in (*inks, plain)]
    assert (room.submitted(0), room.submitted(1)) == ([one.id for one in inks[:2]], [plain.id])
    room.paint(inks[0])
    assert room.submitted(0) == [one.id for one in inks[:3]]
    room.lose(0)
    assert room.submitted(1) == [plain.id, inks[1].id], "nobody has it warm any more"
    assert len(kept) == 5


async def test_an_engine_that_is_held_is_given_nothing_while_another_would_begin_sooner() -> None:
    room = Room(slots=2)
    room.ready(0)
    room.ready(1)
    room.report(Held(reason="temperature", celsius=95, memory_ratio=0.5), 0)
    kept = [room.dispatcher.submit(job()) for _ in range(4)]
    assert len(room.submitted(1)) == len(kept)


async def test_what_an_engine_was_given_is_told_with_how_warm_it_was() -> None:
    room, heard = Room(slots=2), list[EngineEvent]()
    room.dispatcher._listener = heard.append
    room.ready(0)
    ink = job(blend="ink")
    version = versioned(ink.recipe.checkpoint, ink.recipe.checkpoint_digest)
    room.report(MemoryHeld(checkpoints={"vram": ("another",)}))
    kept = [room.dispatcher.submit(ink)]
    room.paint(ink)
    room.report(MemoryHeld(warm={"vram": ("ink",)}, checkpoints={"vram": (version,)}))
    kept += [room.dispatcher.submit(job(blend=name)) for name in ("ink", "oil")]
    assert [event.warmth for event in heard if isinstance(event, JobAssigned)] == ["cold", "blend", "checkpoint"]
    room.lose()
    room.ready()
    assert isinstance(heard[-1], JobAssigned)
    assert heard[-1].warmth == "checkpoint", "nothing is left of the blend"
    assert len(kept) == 3


async def test_a_job_that_lost_too_many_engines_is_given_up() -> None:
    room = Room()
    subscription = room.dispatcher.submit(job())
    for _ in range(3):
        room.ready()
        room.lose()
    assert await failed_with(subscription, EngineFault)


async def test_a_closed_door_opens_when_an_engine_comes_after_all() -> None:
    room = Room()
    subscription = room.dispatcher.submit(job())
    room.dispatcher.drain("no engine")
    assert await failed_with(subscription, Unavailable)
    with pytest.raises(Unavailable):
        room.dispatcher.submit(job())
    room.ready()
    kept = room.dispatcher.submit(job())
    assert len(room.submitted()) == 1
    await kept.aclose()


async def test_two_engines_share_and_a_warm_blend_decides() -> None:
    room = Room(slots=2)
    room.ready(0)
    room.ready(1)
    room.dispatcher.on_report(room.dispatcher.slots[1], MemoryHeld(warm={"vram": ("ink",)}))
    jobs = [job(blend="ink"), job(blend="oil"), job(blend="oil"), job(blend="ink")]
    kept = [room.dispatcher.submit(one) for one in jobs]
    assert room.submitted(1) == [jobs[0].id, jobs[3].id]
    assert room.submitted(0) == [jobs[1].id, jobs[2].id]
    assert len(kept) == 4


Move = Callable[[Room, Job], None]
MOVES: list[Move] = [
    lambda room, one: room.ready(),
    lambda room, one: room.lose(),
    lambda room, one: room.dispatcher.cancel(one.id),
    lambda room, one: room.on_report(Started(one.id, 0.0)),
    lambda room, one: room.on_report(Progressed(one.id, 0, 1, 3)),
    lambda room, one: room.paint(one),
    lambda room, one: room.on_report(Failed(one.id, EngineFault("no"))),
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 9)), max_size=60))
def test_every_job_ends_exactly_once_whatever_the_engine_does(moves: list[tuple[Move, int]]) -> None:
    asyncio.run(_play(moves))


async def _play(moves: list[tuple[Move, int]]) -> None:
    room, jobs = Room(max_lanes=1), [job(tenant="ab"[i % 2]) for i in range(10)]
    subscription = [room.dispatcher.submit(one) for one in jobs]
    for move, index in moves:
        move(room, jobs[index])
    room.ready()
    for _ in jobs:
        for held in list(room.dispatcher.slots[0].assigned.values()):
            room.paint(held.job)
    for one in subscription:
        events = [event async for event in one]
        assert sum(isinstance(event, Finished | Failed) for event in events) == 1
    assert (room.dispatcher.running, room.dispatcher.waiting) == (0, 0)


def _told_to_wait(room: Room) -> float:
    with pytest.raises(Busy) as busy:
        room.dispatcher.submit(job("late"))
    return busy.value.retry_after_seconds or 0.0


async def test_while_a_machine_is_held_whoever_is_turned_away_is_told_of_it_too() -> None:
    """By how long it was held the times before; once another engine takes steps, by the drain alone."""
    room = Room(slots=2, queue_size=1)
    room.ready(0)
    room.report(Held(reason="temperature", celsius=95, memory_ratio=0.5))
    waiting = [room.dispatcher.submit(job("fills an engine", count=8)), room.dispatcher.submit(job("waits"))]
    assert _told_to_wait(room) == 15.0
    room.now = 10.0
    assert _told_to_wait(room) == 5.0
    room.now = 40.0
    assert _told_to_wait(room) == 1.0
    room.report(Held(reason=None, celsius=60, memory_ratio=0.5))
    assert _told_to_wait(room) == 1.0
    room.report(Held(reason="temperature", celsius=95, memory_ratio=0.5))
    assert _told_to_wait(room) == 40.0
    room.lose(0)
    assert room.dispatcher._pause_seconds() == 0.0
    for one in waiting:
        await one.aclose()
